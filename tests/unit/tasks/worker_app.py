"""A small Celery worker on our transport and pool, with tasks that do what a test asks for.

`python -m tests.unit.tasks.worker_app REDIS_URL POOL JOURNAL`; each start and end of a task is a line of JOURNAL.
"""

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery, signals
from celery.apps.worker import Worker

from agent_runner.clients.broker.celery_config import new_celery
from agent_runner.clients.settings.settings import Settings
from agent_runner.tasks.body_errors import FailureReports
from agent_runner.tasks.signals import Signals, telling_consumer
from agent_runner.tasks.worker.loop import AgentLoop
from agent_runner.tasks.worker.pool import TaskPool, current_slot

QUEUE = "work"
SLOTS = 4


def settings_for(url: str) -> Settings:
    return Settings(broker_url=url, redis_url=url, runner_queue=QUEUE, concurrency=SLOTS, max_run_s=30)


def hostname_of(pid: int) -> str:
    return f"tests-{pid}@here"


def build(url: str, journal: Path | None = None, loop: AgentLoop | None = None) -> Celery:
    app = new_celery(settings_for(url), main="tests")

    def note(*words: object) -> None:
        assert journal is not None
        with journal.open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    @app.task(name="work", bind=True, shared=False)
    def work(self: Any, name: str, what: str = "sleep", seconds: float = 0.0) -> str:
        if what == "coroutine":
            assert loop is not None
            return _on_loop(loop, name, seconds, note)
        note("start", name)
        if what == "exit":
            sys.exit(3)
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "cancelled":
            raise asyncio.CancelledError
        if what == "raise":
            raise ValueError("said no")
        time.sleep(seconds)
        note("end", name)
        return name

    return app


def _on_loop(loop: AgentLoop, name: str, seconds: float, note: Any) -> str:
    async def body() -> str:
        # Not before: a coroutine that is cancelled before its first step never begins.
        note("start", name)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            note("cancelled", name)
            return "cancelled"
        note("end", name)
        return name

    work = loop.submit(body())
    slot = current_slot()
    assert slot is not None
    slot.bind(work)
    return work.result()


def main(url: str, pool: str, journal: Path) -> int:
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s %(message)s")
    signals.setup_logging.connect(lambda **_: None, weak=False)
    loop = AgentLoop()
    if pool == "async":
        loop.start()
    app = build(url, journal, loop)
    app.set_current()

    def ready(**_: object) -> None:
        with journal.open("a") as file:
            file.write("ready\n")

    signals.worker_ready.connect(ready, weak=False)
    told = Signals(app, FailureReports(settings_for(url)), queue=QUEUE, worker=hostname_of(os.getpid()))
    app.conf.worker_consumer = telling_consumer(told)
    worker = Worker(
        app=app,
        hostname=hostname_of(os.getpid()),
        pool_cls=TaskPool if pool == "async" else pool,
        concurrency=SLOTS,
        queues=[QUEUE],
        loglevel="INFO",
        task_events=True,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    sys.stdout.flush()
    os._exit(code)
