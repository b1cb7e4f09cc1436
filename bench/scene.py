"""A stack of real processes with the bench's graphs, and the bare worker beside it on the same Redis."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from agent_runner.clients.settings.settings import Settings
from bench.bare_worker import READY
from tests.integration.stack import KEY, Process, Stack
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
"""Processes of a stack start in its folder, where no module of ours is found by itself."""
GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"
OWN = Path(sys.executable).parent
MIB = 1 << 20
SUPERVISED = ("server", "worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a measurement works with. `worker` and `bare` are the processes that run graphs, not their supervisors."""

    stack: Stack
    server: psutil.Process
    worker: psutil.Process | None
    bare: psutil.Process | None

    @property
    def port(self) -> int:
        return self.stack.http_port

    def supervisors(self) -> list[psutil.Process]:
        """The supervisors of server and worker."""
        return [psutil.Process(role.pid) for role in self.stack.processes if role.name in SUPERVISED]

    @property
    def settings(self) -> Settings:
        """For the client of the bare worker."""
        redis = f"redis://127.0.0.1:{self.stack.redis_port}/0"
        return Settings(data_dir=self.stack.folder, broker_url=redis, redis_url=redis, api_key=KEY)  # type: ignore[arg-type]


@contextmanager
def opened(
    *, worker: bool = True, bare: bool = True, concurrency: int = 50, programs: Path = OWN, **settings: str
) -> Iterator[Scene]:
    """Redis and a server, a worker and a bare worker unless told otherwise; all gone at the end. `programs`: the folder
    of the programs of another checkout."""
    given = {"AGENT_RUNNER_GRAPHS": str(GRAPHS), "AGENT_RUNNER_CONCURRENCY": str(concurrency), **settings}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Stack(folder=Path(folder), settings=given, programs=programs) as stack,
    ):
        yield Scene(
            stack=stack,
            server=stack.server.child(),
            worker=stack.start_worker().child() if worker else None,
            bare=psutil.Process(start_bare(stack).pid) if bare else None,
        )


def start_bare(stack: Stack, *, wait: bool = True) -> Process:
    process = stack.spawn("bare", [sys.executable, "-m", "bench.bare_worker"], {"PYTHONPATH": str(ROOT)})
    if wait:
        eventually(lambda: READY in process.output(), within_s=40, what=f"bare worker:\n{process.output()[-2000:]}")
    return process


def cpu_s(process: psutil.Process | None) -> float:
    """Seconds of CPU that it has used so far."""
    assert process is not None
    times = process.cpu_times()
    return float(times.user + times.system)


def rss_mib(process: psutil.Process | None) -> float:
    assert process is not None
    return float(process.memory_info().rss) / MIB


def bare_loop(graph: str, message: str, times: int, stream: str = "events") -> dict[str, Any]:
    """What `python -m bench.bare_loop` says, see there."""
    command = [sys.executable, "-m", "bench.bare_loop", graph, message, str(times), stream]
    said: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return said
