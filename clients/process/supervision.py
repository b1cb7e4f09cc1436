"""What a supervised process does for its supervisor: it ends with the supervisor, and says why a start failed."""

import os
import signal
import sys
import threading

SUPERVISOR_FD = "AGENT_RUNNER_SUPERVISOR_FD"
BANNER = "STARTUP FAILURE"
CAUSES = {
    "Configuration": ("a variable is missing or misspelt", "a value is out of range (see above)"),
    "Initialisation": ("the database or broker URL is wrong", "that service does not run", "a port is in use"),
    "Registration": ("two tasks have one name", "the queue's name differs between server and worker"),
    "Import": ("a package is missing: set up again from the lock file", "a module of yours has an error"),
}


_supervised = False


def ask_for_successor() -> bool:
    """Ask the supervisor to start another process now, because this one leaves. False: there is no supervisor."""
    if _supervised:
        os.kill(os.getppid(), signal.SIGUSR1)
    return _supervised


def end_with_supervisor() -> None:
    """Stop this process, as SIGTERM does, when the supervisor's pipe ends. Without a supervisor it does nothing."""
    given = os.environ.pop(SUPERVISOR_FD, "")
    if not given:
        return
    global _supervised
    _supervised = True
    fd = int(given)
    os.set_inheritable(fd, False)

    def watch() -> None:
        while os.read(fd, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


def startup_failure(kind: str, error: BaseException | str) -> None:
    """Print the banner of a failed start. `kind` is a key of `CAUSES`; the supervisor sends it to the server."""
    lines = [
        "=" * 72,
        f"{BANNER}: {kind} Error",
        f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error,
        "Common causes:",
        *[f"  - {cause}" for cause in CAUSES[kind]],
        "=" * 72,
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - logging may not be set up yet
