"""S17: the private memory of `agent-runner dev` when nothing runs, and of each of its supervisors."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from agent_runner.app.dev.processes import command_line
from agent_runner.app.supervisor_program import MODULE
from bench.arithmetic import Pair, Row, row
from bench.scene import MIB

READY = "READY http="
SETTLED_S = 3.0
OURS = ("AGENT_RUNNER_", "AGENT_EXECUTION_", "STIGMER_", "FLOWER_")


def measure(rounds: int) -> list[Row]:
    together, largest, detail = [], [], ""
    for _ in range(rounds):
        with idle() as dev:
            used = {process: private_mib(process) for process in (dev, *dev.children(recursive=True))}
            supervisors = {role(process): used[process] for process in dev.children() if MODULE in process.cmdline()}
        together.append(Pair(value=sum(used.values()), baseline=0))
        largest.append(Pair(value=max(supervisors.values()), baseline=0))
        detail = f"{len(used)} processes; supervisors: {', '.join(f'{k} {v:.1f}' for k, v in supervisors.items())}"
    return [row("S17", "all", together, detail), row("S17", "supervisor", largest)]


@contextmanager
def idle() -> Iterator[psutil.Process]:
    """`agent-runner dev` on free ports, a moment after it is ready."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        free = ("--http-port", "0", "--grpc-port", "0", "--flower-port", "0", "--data-dir", str(Path(folder) / "data"))
        process = subprocess.Popen(
            [*command_line("dev"), *free],
            cwd=folder,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            if not any(READY in line for line in process.stdout):
                raise RuntimeError("dev ended before it was ready")
            time.sleep(SETTLED_S)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


def private_mib(process: psutil.Process) -> float:
    """Memory that no other process shares and no file holds."""
    memory = process.memory_info()
    return float(memory.rss - memory.shared) / MIB


def role(supervisor: psutil.Process) -> str:
    """What the process list shows it as: `agent-runner worker` is a worker."""
    shown = next((word for word in supervisor.cmdline() if word.startswith("agent-runner ")), "?")
    return shown.split()[-1]
