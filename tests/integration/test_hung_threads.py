"""A worker that has lost too many threads is followed by another, and no run that did not hang them ends for it."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.stack import Json, Process, Stack
from tests.support.waiting import eventually

SOURCE = """
import asyncio
import time
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Send


class Pages(TypedDict, total=False):
    calls: int
    steps: int
    done: Annotated[int, lambda old, new: (old or 0) + new]


def fetch(state):
    time.sleep(600)


async def step(state):
    await asyncio.sleep(0.5)
    return {"done": 1}


def further(state):
    return "step" if state["done"] < state["steps"] else "__end__"


def count(state):
    return {"done": 1}


hang = StateGraph(Pages).add_node("fetch", fetch)
hang.add_conditional_edges(START, lambda state: [Send("fetch", n) for n in range(state["calls"])], ["fetch"])
walk = StateGraph(Pages).add_node("step", step).add_edge(START, "step")
walk.add_conditional_edges("step", further, ["step", "__end__"])
brief = StateGraph(Pages).add_node("count", count).add_edge(START, "count")
"""
MOST, CALLS, STEPS = 8, 10, 60
REPLACED_WITHIN_S = 60.0
EXIT_TEXT = "exit code 71: threads of ended runs did not come back; its other runs had ended"


@pytest.fixture
def crawling(tmp_path: Path) -> Iterator[Stack]:
    """Redis and a server that know the graphs; a worker may lose fewer threads than one run of them hangs."""
    (tmp_path / "crawl.py").write_text(SOURCE)
    graphs = {name: f"./crawl.py:{name}" for name in ("hang", "walk", "brief")}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    given = {
        "AGENT_RUNNER_GRAPHS": str(tmp_path / "langgraph.json"),
        "AGENT_RUNNER_MAX_HUNG_THREADS": str(MOST),
    }
    with Stack.open(tmp_path, **given) as stack:
        yield stack


def started(stack: Stack, graph: str, input: Json, **given: object) -> str:
    answer = stack.http.post("/v1/executions", json={"graph": graph, "input": input, **given})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["metadata"]["id"])


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def exits(stack: Stack, first: set[str]) -> set[str]:
    """What the server was told of how those that are gone ended."""
    everyone = stack.http.get("/v1/workers").raise_for_status().json()["workers"]
    return {str(one["exit_text"]) for one in everyone if one["incarnation"] in first and one["exit_text"]}


def follows(stack: Stack, first: set[str]) -> list[Json]:
    """Who is online, once none of the first is."""
    online = stack.workers()
    return [] if first & {one["incarnation"] for one in online} else online


@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_a_worn_out_worker_is_followed_and_nobody_else_pays(crawling: Stack, pool: str) -> None:
    """It says why, runs beside and after it complete, it exits with its own code, and its successor has lost none."""
    worker: Process = crawling.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="4")
    child = worker.child()
    first = {one["incarnation"] for one in crawling.workers()}
    beside = started(crawling, "walk", {"steps": STEPS})
    crawling.wait_for(beside, "EXECUTION_IN_PROGRESS")
    hung = started(crawling, "hang", {"calls": CALLS}, timeouts={"start_to_close_s": 3, "heartbeat_s": 2})
    culprit = crawling.wait_for(hung)["status"]
    assert culprit["error"].endswith("[E104 START_TO_CLOSE]")
    assert f"{CALLS} threads of it have not come back: fetch (crawl.py:" in culprit["error"]

    why = eventually(lambda: [w["not_taking"] for w in crawling.workers() if w["not_taking"]], what="the reason")
    assert f"threads of {CALLS} calls of ended runs have not come back" in why[0]
    assert "AGENT_RUNNER_MAX_HUNG_THREADS" in why[0]
    after: list[str] = []

    def left_while_others_come() -> bool:
        after.append(started(crawling, "brief", {}))
        crawling.wait_for(after[-1])
        return ended(child)

    eventually(left_while_others_come, within_s=REPLACED_WITHIN_S, what="the worn-out worker to leave")
    assert crawling.wait_for(beside)["output"]["done"] == STEPS
    assert {crawling.phase(id) for id in (beside, *after)} == {"EXECUTION_COMPLETED"}
    assert eventually(lambda: exits(crawling, first), what="how it ended") == {EXIT_TEXT}
    successor = eventually(lambda: follows(crawling, first), what="its successor alone")
    assert {(one["hung_threads"], one["not_taking"]) for one in successor} == {(0, "")}
