"""A worker or orchestrator process, as its supervisor starts it:
`python -P -m agent_runner.tasks.worker --as "agent-runner worker"`.

Only the standard library is imported before the start is guarded: a broken import, too, must end in the banner.
"""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from agent_runner.clients.process.import_path import current_folder_last

FAILED = 1


class _CannotStart(Exception):
    def __init__(self, kind: str, reason: BaseException | str) -> None:
        self.kind, self.reason = kind, reason


def main(arguments: Sequence[str]) -> int:
    """Returns when the worker has left; 1 after a failed start, with one banner on stderr."""
    current_folder_last()
    gc.disable()  # imports make hundreds of thousands of objects, and all of them stay
    try:
        settings = _stage("Configuration", _settings, _role(arguments))
        station = _stage("Import", _station, _role(arguments))(settings, _role(arguments))
        _stage("Initialisation", station.open)
    except _CannotStart as failed:
        return _banner(failed)
    gc.freeze()
    gc.enable()
    return int(station.run())


def _role(arguments: Sequence[str]) -> str:
    """The last word of `--as "agent-runner worker"`, which is there to be seen in the process list."""
    if "--as" in arguments[:-1]:
        return arguments[arguments.index("--as") + 1].split()[-1]
    return "worker"


def _stage(kind: str, work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except _CannotStart:
        raise
    except ImportError as error:
        raise _CannotStart("Import", error) from error
    except Exception as error:
        raise _CannotStart(kind, error) from error


def _settings(role: str) -> Any:
    from agent_runner.clients.process.hidden_environment import hide_secrets
    from agent_runner.clients.process.logs import set_up_logging
    from agent_runner.clients.process.signs_of_life import show_life
    from agent_runner.clients.process.supervision import end_with_supervisor
    from agent_runner.clients.sandbox.programs import kernel
    from agent_runner.clients.settings.settings import load_settings
    from agent_runner.clients.tracing.switches import forget_switches, stay_off
    from agent_runner.status.timeouts import silent_process_s

    if role not in ("worker", "orchestrator"):
        raise ValueError(f"--as must end in worker or orchestrator, not {role!r}")
    end_with_supervisor()
    kernel.not_dumpable()
    os.umask(0o077)
    settings = load_settings(role)  # type: ignore[arg-type]
    show_life(silent_process_s(settings.heartbeat_timeout_s))
    forget_switches()
    set_up_logging(settings.log_level, settings.log_format)
    hidden = hide_secrets(settings)
    if role == "worker":  # an orchestrator runs no agent, and needs nothing of the engine
        from agent_runner.clients.engine.user_graphs import run_environment

        run_environment.install(hidden)
        stay_off()  # until `LangSmithTraces` turns it on, in the process that runs agents
    return settings


def _station(role: str) -> Callable[[Any, Any], Any]:
    from agent_runner.clients.process.lean_imports import import_httpx, import_redis

    if role == "worker":  # agents may want what `import_redis` leaves out
        from agent_runner.tasks.worker.forks.grpc_in_forks import without_fork_support

        without_fork_support()
        import_httpx()
    else:
        import_redis()
    from agent_runner.tasks.app import build_app
    from agent_runner.tasks.worker.serve import Station
    from agent_runner.tasks.worker.workplace import Workplace

    def build(settings: Any, role: Any) -> Any:
        workplace = Workplace()
        app = _stage("Registration", build_app, settings, role, workplace)
        return Station(settings, role, app, workplace)

    return build


def _banner(failed: _CannotStart) -> int:
    try:
        from agent_runner.clients.process.supervision import startup_failure

        startup_failure(failed.kind, _masked(failed.reason))
    except Exception as error:  # the module that prints the banner may be the one that cannot be imported
        sys.stderr.write(f"STARTUP FAILURE: {failed.kind} Error\n{failed.reason}\n({error})\n")
    return FAILED


def _masked(reason: BaseException | str) -> str:
    """The text without passwords of URLs: it goes to the log and to the server."""
    import re

    text = reason if isinstance(reason, str) else f"{type(reason).__name__}: {reason}"
    return re.sub(r"(://[^:/@\s]*:)\S+@", r"\1********@", text)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    sys.stdout.flush()
    # Threads of tools that ignore their cancel would keep the interpreter from exiting.
    os._exit(code)
