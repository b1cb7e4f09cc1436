"""Real parts for the tests of the Celery side: a redis-server, a worker process, a client application."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from tests.unit.tasks.worker_app import QUEUE, build, hostname_of


class WorkerProcess:
    """A worker of `worker_app` and what its tasks wrote down."""

    def __init__(self, popen: "subprocess.Popen[bytes]", journal: Path, output: Path) -> None:
        self.popen, self._journal, self._output = popen, journal, output

    @property
    def hostname(self) -> str:
        """Its name: one that is asked by it answers, and nobody waits for others."""
        return hostname_of(self.popen.pid)

    def lines(self) -> list[str]:
        return self._journal.read_text().splitlines() if self._journal.exists() else []

    def wait_line(self, line: str, within_s: float = 20.0) -> None:
        said = lambda: f"{line!r}; worker said:\n{self.output()}"  # noqa: E731 - as it stands when the time is up
        eventually(lambda: line in self.lines(), within_s=within_s, what=said)

    def output(self) -> str:
        return self._output.read_text(errors="replace")[-4000:]

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.popen.poll() is None:
            os.kill(self.popen.pid, number)
        try:
            return self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer.running(tmp_path, socket=True, durable=True) as server:
        yield server


@pytest.fixture
def start_worker(redis_server: RedisServer, tmp_path: Path) -> Iterator[Callable[[str], WorkerProcess]]:
    """Starts a worker with the named pool, ready to work."""
    started: list[WorkerProcess] = []

    def start(pool: str) -> WorkerProcess:
        journal, output = tmp_path / f"journal-{len(started)}", tmp_path / f"output-{len(started)}"
        with output.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-m", "tests.unit.tasks.worker_app", redis_server.url, pool, str(journal)],
                stdout=file,
                stderr=file,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )
        worker = WorkerProcess(popen, journal, output)
        started.append(worker)
        worker.wait_line("ready")
        return worker

    yield start
    for worker in started:
        if worker.popen.poll() is None:
            worker.popen.kill()
            worker.popen.wait()


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Celery]:
    app = build(redis_server.url)
    yield app
    app.close()


@pytest.fixture
def send(client: Celery) -> Callable[..., str]:
    """Puts a task on the worker's queue; its id."""

    def put(name: str, what: str = "sleep", seconds: float = 0.0) -> str:
        return str(client.send_task("work", (name, what, seconds), queue=QUEUE, task_id=name).id)

    return put
