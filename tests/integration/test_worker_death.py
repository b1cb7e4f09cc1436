"""What is left when a worker dies: a true reason, the conversation, and no process (L1, L5, L8)."""

import signal
import uuid

import psutil
import pytest

from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import Process, Stack
from tests.support.waiting import eventually

pytestmark = EVERY_BROKER


@pytest.fixture
def served(shared_server: Stack) -> Stack:
    """With a worker of the test's own."""
    shared_server.start_worker()
    return shared_server


SECONDS = f"61.{uuid.uuid4().int % 10**9}"
"""Nobody else's sleep has this length: the process is known by it."""
SLOW_TOOL = f"Before.\n$ echo alive\n$ sleep {SECONDS}"


def tool_processes() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", SECONDS]]


def in_the_tool(stack: Stack, **given: object) -> str:
    id = str(stack.create(SLOW_TOOL, **given)["metadata"]["id"])
    stack.wait_text(id, "alive")
    eventually(tool_processes, what="the tool's process")
    return id


def check_the_end(stack: Stack, id: str, position: int) -> None:
    status = stack.get(id)["status"]
    assert status["messages"][0]["content"] == SLOW_TOOL
    assert any("alive" in c.get("result", "") for c in status["tool_calls"])
    assert status["messages"][-1]["metadata"]["error_code"] == "E103"
    assert status["error"].endswith("[E103 WORKER_LOST]")
    eventually(lambda: not tool_processes(), what="the tool's processes to be gone")
    events = list(stack.events(id, position))
    assert events[-1][1] == "end"
    assert events[-1][2]["error_code"] == "E103"


@pytest.mark.promise("3.09")
@pytest.mark.promise("3.28")
def test_the_celery_process_is_killed(served: Stack) -> None:
    """E103 with the signal, which only its supervisor knows; the restarted worker serves the next execution."""
    worker = next(p for p in served.processes if p.name == "worker")
    id = in_the_tool(served)
    worker.child().kill()
    ended = served.wait_for(id)
    assert ended["status"]["phase"] == "EXECUTION_FAILED"
    assert "signal 9" in ended["status"]["error"]
    check_the_end(served, id, 3)
    following = served.create("$ echo again")["metadata"]["id"]
    assert served.wait_for(following)["status"]["phase"] == "EXECUTION_COMPLETED"


def test_supervisor_and_child_are_killed_together(served: Stack) -> None:
    """E103 by the lost connection, after the grace."""
    worker: Process = next(p for p in served.processes if p.name == "worker")
    id = in_the_tool(served)
    child = worker.child()
    worker.kill(signal.SIGKILL)
    child.kill()
    ended = served.wait_for(id)
    assert ended["status"]["phase"] == "EXECUTION_FAILED"
    assert "was not back within 3 s" in ended["status"]["error"]
    check_the_end(served, id, 3)
    worker.popen.wait(20)
