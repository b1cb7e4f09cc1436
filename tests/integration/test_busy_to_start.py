"""With busy-to-start a full queue may wait longer than one without a worker, on real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_runner.status.failures import FAILURES, Code
from tests.integration.stack import Json, Stack

START_S, BUSY_S = 2.0, 90.0
SETTINGS = {
    "AGENT_RUNNER_SCHEDULE_TO_START_TIMEOUT_S": f"{START_S}",
    "AGENT_RUNNER_BUSY_TO_START_TIMEOUT_S": f"{BUSY_S}",
    "AGENT_RUNNER_HEARTBEAT_TIMEOUT_S": "3",  # a worker says how busy it is at each beat: every second
    "AGENT_RUNNER_CONCURRENCY": "1",
}
NAMED = ("AGENT_RUNNER_CONCURRENCY", "AGENT_RUNNER_BUSY_TO_START_TIMEOUT_S", "agent-runner worker")


def failed(stack: Stack, id: str) -> tuple[str, Json]:
    """Its error, and the facts of the message that tells it."""
    status = stack.wait_for(id, "EXECUTION_FAILED")["status"]
    return status["error"], status["messages"][-1]["metadata"]


@pytest.fixture
def stack_with_limits(tmp_path: Path) -> Iterator[Stack]:
    with Stack.open(tmp_path, **SETTINGS) as opened:
        yield opened


@pytest.mark.timeout(180)
def test_a_full_queue_waits_longer_than_an_empty_place(stack_with_limits: Stack) -> None:
    """Nobody online: E101 after schedule-to-start. One slot, in use: whoever waits three times that is taken. One that
    may wait only a little longer is told how many slots were busy, and which settings help."""
    stack = stack_with_limits
    error, _ = failed(stack, stack.create("nobody is there")["metadata"]["id"])
    assert f"within {START_S:g} s" in error
    assert "no worker ever connected" in error
    stack.start_worker()
    holds = stack.create("hold the slot\n$ sleep 6")["metadata"]["id"]
    stack.wait_for(holds, "EXECUTION_IN_PROGRESS")
    waits = stack.create("wait for it")["metadata"]["id"]
    little = stack.create("wait a little", timeouts={"busy_to_start_s": 2 * START_S})["metadata"]["id"]
    error, facts = failed(stack, little)
    assert f"within {2 * START_S:g} s" in error
    assert "1 workers online, all 1 slots busy" in error
    assert all(name in facts["next_step"] for name in NAMED)
    assert facts["next_step"] == FAILURES[Code.SCHEDULE_TO_START].next_step
    stack.wait_for(waits, "EXECUTION_COMPLETED")
    rows = stack.http.get("/v1/executions", params={"view": "summary"}).raise_for_status().json()["executions"]
    assert {row["id"]: row for row in rows}[waits]["waitSeconds"] > 2 * START_S
