"""`python -m agent_runner.app.server`: the server process. SIGTERM and SIGINT stop it after the calls in flight."""

import asyncio
import contextlib
import gc
import signal
import sys

from agent_runner.clients.process.import_path import current_folder_last
from agent_runner.clients.process.supervision import end_with_supervisor, startup_failure

SWITCH_S = 0.0005
"""A verb of the store gives the interpreter up at each of its statements. While the event loop is busy, it gets it back
after this time; Python's own 5 ms would be longer than most verbs take."""


def main() -> int:
    current_folder_last()
    gc.disable()  # imports make hundreds of thousands of objects, and all of them stay
    sys.setswitchinterval(SWITCH_S)
    try:
        from agent_runner.clients.process.lean_imports import import_httpx, import_redis

        import_redis()
        import_httpx()
        from agent_runner.app.server.composition import running_server
        from agent_runner.app.server.maintenance.first_migration import migrate_apart
        from agent_runner.clients.process.logs import set_up_logging
        from agent_runner.clients.process.private_files import keep_private
        from agent_runner.clients.settings.settings import SettingsError, load_settings
        from agent_runner.status.event_logger import event_logger
    except Exception as error:
        startup_failure("Import", error)
        return 1
    try:
        settings = load_settings("server")
        keep_private(settings.data_dir)
    except SettingsError as error:
        startup_failure("Configuration", "\n".join(error.problems))
        return 1
    set_up_logging(settings.log_level, settings.log_format)
    log = event_logger("agent_runner.server")
    migrate_apart(settings.database_url)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        end_with_supervisor()
        async with running_server(settings) as server:
            gc.freeze()
            gc.enable()
            log.info("server.ready", http_port=server.http_port, grpc_port=server.grpc_port)
            await stop.wait()
            log.info("server.stopping")

    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve())
    except Exception as error:
        startup_failure("Initialisation", error)
        log.debug("server.start_failed", exc_info=True)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    if code:
        sys.exit(code)
    from agent_runner.clients.process.logs import end_process

    # All parts are closed. To take thousands of modules apart would cost a third of a second of each restart.
    end_process(code)
