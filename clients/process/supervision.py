"""What a supervised process does for its supervisor: end when it is gone, and say why a start failed."""

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
    """Have the supervisor start another process now; this one is about to leave. False: there is no supervisor."""
    if _supervised:
        os.kill(os.getppid(), signal.SIGUSR1)
    return _supervised


def end_with_supervisor() -> None:
    """Ask this process to stop, as SIGTERM does, when the supervisor's pipe ends. Without one nothing happens."""
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
    """Print the one banner of a failed start. `kind` is a key of `CAUSES`; the supervisor sends it to the server."""
    lines = [
        "=" * 72,
        f"{BANNER}: {kind} Error",
        f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error,
        "Common causes:",
        *[f"  - {cause}" for cause in CAUSES[kind]],
        "=" * 72,
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - logging may not be set up yet
