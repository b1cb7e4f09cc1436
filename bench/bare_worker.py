"""The bare baseline as a worker: Celery with our configuration, transport and pool, and nothing else of ours.

Two chained tasks: the first hands on its argument, the second runs a graph on the process' event loop (none if the name
is empty). No claim, no status, no server, no memory.
"""

import os
import socket
import sys
import warnings
from typing import Any

from celery import Celery, signals
from celery.apps.worker import Worker

from agent_runner.clients.broker.celery_config import new_celery
from agent_runner.clients.process.logs import set_up_logging
from agent_runner.clients.settings.settings import Settings, load_settings
from agent_runner.tasks.worker.loop import AgentLoop
from agent_runner.tasks.worker.pool import TaskPool
from bench.bare_loop import read

QUEUE = "bench_bare"
FIRST, SECOND = "bench.first", "bench.second"
READY = "the bare worker is ready"


def build(settings: Settings, loop: AgentLoop) -> Celery:
    app = new_celery(settings, main="bench.bare")

    @app.task(name=FIRST, shared=False)
    def first(name: str) -> dict[str, Any]:
        return {"name": name}

    @app.task(name=SECOND, shared=False)
    def second(name: str, graph: str, message: str) -> dict[str, Any]:
        events = loop.submit(read(graph, message)).result() if graph else 0
        return {"name": name, "events": events}

    app.finalize()
    return app


def main() -> None:
    settings = load_settings("worker")
    set_up_logging(settings.log_level, settings.log_format)
    warnings.simplefilter("ignore")
    signals.setup_logging.connect(lambda **_: None, weak=False)
    signals.worker_ready.connect(lambda **_: print(READY, flush=True), weak=False)
    loop = AgentLoop()
    loop.start()
    app = build(settings, loop)
    app.set_current()
    worker = Worker(
        app=app,
        hostname=f"bare-{os.getpid()}@{socket.gethostname()}",
        pool_cls=TaskPool,
        concurrency=settings.concurrency,
        queues=[QUEUE],
        loglevel=settings.log_level,
        task_events=True,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
