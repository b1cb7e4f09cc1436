"""The lines about a `.env` file, from when it is read until the log is set up. To log needs nothing of the settings."""

_told: list[str] = []


def tell_of_env_file(line: str) -> None:
    """Take the place of what was told before."""
    _told[:] = [line]


def told_of_env_file() -> list[str]:
    """The log lines about the file that was read; a second call returns none."""
    told, _told[:] = list(_told), []
    return told
