"""`honcho start` with only Redis and a database: the Procfile as a runner of such files starts it, a child killed.

honcho is used where it is installed; else each line of the file is started by a shell, as it would, with one end for
all: a runner stops everything when one process ends.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from checks.tree import ROOT
from tests.integration.stack import Process, Stack
from tests.support.databases import postgres_database
from tests.support.waiting import eventually

PROCFILE = ROOT / "Procfile"
WORKER = "agent_runner.tasks.worker"


class WithoutRoles(Stack):
    """Redis and a place for the rest; what `start` would do, the Procfile's runner does."""

    def start(self, role: str, *arguments: str, **extra: str) -> Process:
        assert role == "server"
        shutil.copy(PROCFILE, self.folder)
        tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        settings = {"PATH": tools, "FLOWER_PORT": "0", "FLOWER_ADDRESS": "127.0.0.1", **extra}
        if honcho := shutil.which("honcho"):
            # It hands no pipe on to what it starts.
            self.server = self.spawn("honcho", ["env", "-u", "AGENT_RUNNER_PARENT_FD", honcho, "start"], settings)
            return self.server
        for line in PROCFILE.read_text().splitlines():
            name, _, command = line.partition(": ")
            process = self.spawn(name, ["/bin/sh", "-c", f"exec {command}"], settings)
            if name == "server":
                self.server = process
        return self.server

    def of_worker(self) -> psutil.Process:
        """The Celery process: the child of the worker's supervisor."""
        return eventually(lambda: next(filter(_runs_agents, self.survivors()), None), what="the Celery child")


def _runs_agents(process: psutil.Process) -> bool:
    return {WORKER, "agent-runner worker"} <= set(process.cmdline())


@contextmanager
def stores() -> Iterator[dict[str, str]]:
    """Postgres where the tests have one, else the stack's SQLite."""
    if not os.environ.get("AGENT_RUNNER_TEST_POSTGRES_URL"):
        yield {}
        return
    with postgres_database() as store, postgres_database() as memory:
        yield {"AGENT_RUNNER_DATABASE_URL": store, "AGENT_RUNNER_CHECKPOINT_URL": memory}


@pytest.mark.timeout(300)
def test_a_child_of_celery_is_killed(tmp_path: Path) -> None:
    """The run under way ends E103 with the signal; its session's next run completes; no process of the file ended."""
    with stores() as urls, WithoutRoles.open(tmp_path, **urls) as stack:
        eventually(stack.workers, within_s=60, what="a worker")
        before = {process.name: process.pid for process in stack.processes}
        first = stack.create("Wait.\n$ sleep 60")
        id, session = first["metadata"]["id"], first["spec"]["session_id"]
        stack.wait_for(id, "EXECUTION_IN_PROGRESS")
        child = stack.of_worker()
        os.kill(child.pid, signal.SIGKILL)
        failed = stack.wait_for(id, "EXECUTION_FAILED")
        assert "[E103" in failed["status"]["error"]
        assert "signal 9" in failed["status"]["error"]
        second = stack.create("Say it.\n$ echo here again", session_id=session)["metadata"]["id"]
        done = stack.wait_for(second, "EXECUTION_COMPLETED", within_s=60)
        assert "here again" in str(done["status"]["tool_calls"])
        assert stack.of_worker().pid != child.pid
        assert all(process.popen.poll() is None for process in stack.processes)
        assert before == {process.name: process.pid for process in stack.processes}
