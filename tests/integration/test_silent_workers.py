"""A worker whose interpreter is held by code in C is ended and replaced; one that is only stopped is not."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent_runner.status.timeouts import silent_process_s
from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import Json, Process, Stack
from tests.support.waiting import eventually

pytestmark = EVERY_BROKER

SOURCE = """
import itertools
from typing import TypedDict

from langgraph.graph import START, StateGraph


class Work(TypedDict, total=False):
    rounds: int
    done: int


def compute(state):
    return {"done": sum(itertools.repeat(1, state["rounds"]))}


compute = StateGraph(Work).add_node("compute", compute).add_edge(START, "compute").compile()
"""
BRIEF, MINUTES = 10, 12 * 10**9
"""Rounds of one call in C, which lets nobody else have the interpreter. The long one takes one to three minutes."""
WHERE = f"compute (held.py:{SOURCE.splitlines().index('def compute(state):') + 2})"
HEARTBEAT_S = 2.0
SILENT_S = silent_process_s(HEARTBEAT_S)
REPLACED_WITHIN_S = SILENT_S + 60


@pytest.fixture
def computing(tmp_path: Path, broker: str) -> Iterator[Stack]:
    """Redis and a server that know the graph, with a short heartbeat timeout."""
    (tmp_path / "held.py").write_text(SOURCE)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"compute": "./held.py:compute"}}))
    given = {
        "AGENT_RUNNER_GRAPHS": str(tmp_path / "langgraph.json"),
        "AGENT_RUNNER_HEARTBEAT_TIMEOUT_S": f"{HEARTBEAT_S:g}",
    }
    with Stack.open(tmp_path, broker, **given) as stack:
        yield stack


def started(stack: Stack, rounds: int, **given: object) -> str:
    answer = stack.http.post("/v1/executions", json={"graph": "compute", "input": {"rounds": rounds}, **given})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["metadata"]["id"])


def workers(stack: Stack) -> list[Json]:
    found: list[Json] = stack.http.get("/v1/workers").raise_for_status().json()["workers"]
    return found


@pytest.mark.promise("3.20")
@pytest.mark.promise("3.23")
@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_a_worker_whose_interpreter_is_held_is_replaced(computing: Stack, pool: str) -> None:
    """Its run ends E102 in time, its log and its end say in which call it was, the next run completes in another."""
    worker: Process = computing.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="1")
    first = {w["incarnation"]: w["pid"] for w in computing.workers()}
    held = started(computing, MINUTES)
    assert computing.wait_for(held)["status"]["error"].endswith("[E102 HEARTBEAT]")
    done = computing.wait_for(started(computing, BRIEF), within_s=REPLACED_WITHIN_S)
    assert done["output"]["done"] == BRIEF
    assert not any(psutil.pid_exists(pid) for pid in first.values())
    log = eventually(lambda: said if "worker.silent" in (said := worker.output()) else None, what="the event")
    assert f"where={json.dumps(WHERE)}" in log
    assert f"in {WHERE.split()[0]}" in log[log.index("Current thread") :].splitlines()[1]
    (ended,) = eventually(lambda: [w for w in workers(computing) if w["exit_text"]], what="how it ended")
    assert ended["incarnation"] in first
    assert f"so its supervisor ended it; it was in {WHERE}" in ended["exit_text"]
    assert computing.get(held)["status"]["error"].endswith("[E102 HEARTBEAT]")


def test_a_worker_that_was_stopped_works_on(computing: Stack) -> None:
    """A debugger, or an operator: its runs end E102, and when it goes on the same process takes the next one."""
    worker = computing.start_worker()
    before = computing.workers()
    id = str(computing.create("$ sleep 60")["metadata"]["id"])
    computing.wait_for(id, "EXECUTION_IN_PROGRESS")
    worker.child().suspend()
    assert computing.wait_for(id)["status"]["error"].endswith("[E102 HEARTBEAT]")
    worker.child().resume()
    assert computing.wait_for(started(computing, BRIEF))["output"]["done"] == BRIEF
    assert [w["incarnation"] for w in computing.workers()] == [w["incarnation"] for w in before]
    assert "worker.silent" not in worker.output()
