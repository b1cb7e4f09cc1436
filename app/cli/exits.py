"""Failures of a command: the error and the next step on stderr, and an exit code of interfaces.md."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click

from agent_runner.clients.settings.settings import Role, Settings, SettingsError, load_settings

EXIT_FAILED, EXIT_USAGE, EXIT_CANCELLED = 1, 2, 130


class Failed(click.ClickException):
    """Ends the command with an error. `next_step` is printed on a line of its own."""

    def __init__(self, message: str, *, next_step: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.next_step = next_step
        self.exit_code: int = exit_code  # type: ignore[misc]  # click has it on the class

    def show(self, file: object = None) -> None:
        click.echo(f"Error: {self.message}", err=True)
        if self.next_step:
            click.echo(f"Next step: {self.next_step}", err=True)


def settings_or_exit(role: Role) -> Settings:
    """The settings. If they are wrong: raises `Failed` with all problems and exit code 2."""
    try:
        return load_settings(role)
    except SettingsError as error:
        lines = "".join(f"\n  - {problem}" for problem in error.problems)
        raise Failed(
            f"the settings are wrong:{lines}", next_step="agent-runner doctor --settings lists all of them.",
            exit_code=EXIT_USAGE,
        ) from None  # fmt: skip


def server_url(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """For `--server`: without this check an address that no client can use would be tried for a minute."""
    try:
        parts = urlsplit(given or "")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if given and not usable:
        raise click.BadParameter(f"'{given}' is no address of a server; write it as http://host:port")
    return given


@contextmanager
def api_errors() -> Iterator[None]:
    """Turns an `ApiError` of the server into `Failed`."""
    from agent_runner.clients.backend.http_api import ApiError  # the commands that start a process need no client

    try:
        yield
    except ApiError as error:
        raise Failed(f"{error} [{error.code}]", next_step=error.next_step) from None
