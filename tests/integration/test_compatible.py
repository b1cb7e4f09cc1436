"""A worker with AGENT_RUNNER_REPORTING=compatible on our own server: it gets by with the published contract."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.shared import SharedStacks
from tests.integration.stack import Process, Stack
from tests.support.waiting import eventually

pytestmark = EVERY_BROKER


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStacks]:
    """A server that takes reports by the contract."""
    new_folder = partial(tmp_path_factory.mktemp, "compatible")
    with SharedStacks(new_folder, start, AGENT_RUNNER_REPORTING="compatible") as opened:
        yield opened


@pytest.fixture
def stack(shared: Stack) -> Stack:
    return shared


@pytest.fixture
def worker(stack: Stack, stacks: SharedStacks) -> Process:
    return stacks.worker_of(stack)


def start(stack: Stack) -> Process:
    """Never announced to the server: its own log says when it takes work."""
    process = stack.start("worker", AGENT_RUNNER_REPORTING="compatible", AGENT_RUNNER_STATUS_UPDATE_INTERVAL="5")
    eventually(lambda: " is ready: " in process.output(), within_s=40, what=f"the worker:\n{process.output()[-3000:]}")
    return process


def updates(stack: Stack, id: str) -> list[Any]:
    """The statuses that came by updateStatus, from the log."""
    rows = [data for _, event, data in stack.events(id, 0) if event == "update"]
    return [row["payload"]["status"] for row in rows if row["kind"] == "merge"]


@pytest.mark.promise("0.13")
def test_an_execution_runs_to_its_end(stack: Stack, worker: Process) -> None:
    """COMPLETED with every message and tool call; the updates are as many as the events of the run ask for."""
    before = len(worker.output())
    created = stack.create("$ echo one && echo two")
    ended = stack.wait_for(created["metadata"]["id"])
    status = ended["status"]
    assert status["phase"] == "EXECUTION_COMPLETED", worker.output()[-3000:]
    kinds = [message["type"] for message in status["messages"]]
    assert (kinds[0], set(kinds[1:])) == ("MESSAGE_HUMAN", {"MESSAGE_AI"})
    assert status["messages"][0]["content"] == "$ echo one && echo two"
    assert status["tool_calls"][0]["status"] == "TOOL_CALL_COMPLETED"
    assert "two" in status["tool_calls"][0]["result"]
    assert status["started_at"] <= status["completed_at"]
    numbers = re.compile(r"run\.updates .* events=(\d+) updates=(\d+) failed=(\d+)")
    said = eventually(lambda: numbers.search(worker.output(), before))
    events, sent, failed = map(int, said.groups())
    sizes = [len(str(update)) for update in updates(stack, created["metadata"]["id"])]
    assert (sent, failed) == (events // 5, 0)
    assert len(sizes) == 1 + sent + 1
    assert sizes[0] < sizes[-1]
    assert stack.workers() == []


def test_a_session_goes_on(stack: Stack, worker: Process) -> None:
    """The thread is stored in the session, and the second turn knows the first."""
    first = stack.create("My favourite colour is vermilion.")
    session = first["spec"]["session_id"]
    stack.wait_for(first["metadata"]["id"], "EXECUTION_COMPLETED")
    assert stack.http.get(f"/v1/sessions/{session}").json()["spec"]["thread_id"] == f"thread-{session}"
    second = stack.create("What did I say?", session_id=session)
    status = stack.wait_for(second["metadata"]["id"], "EXECUTION_COMPLETED")["status"]
    assert "vermilion" in " ".join(m["content"] for m in status["messages"] if m["type"] == "MESSAGE_AI")


def test_a_secret_that_is_not_shown_is_the_reason(stack: Stack, worker: Process) -> None:
    """Our server gives secrets to native workers only: E304, not an agent that runs with asterisks."""
    created = stack.create("$ echo $TOKEN", env={"TOKEN": "a-very-secret-value"})
    status = stack.wait_for(created["metadata"]["id"])["status"]
    assert status["phase"] == "EXECUTION_FAILED"
    assert status["error"].endswith("[E304 ENVIRONMENT]")
    assert "TOKEN" in status["error"]
    assert status["messages"][-1]["type"] == "MESSAGE_SYSTEM"
    assert "a-very-secret-value" not in worker.output()
