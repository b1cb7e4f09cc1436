"""What commands run in, as readers of a real stack see it; and a worker that must not start."""

import json
from pathlib import Path

import pytest

from agent_runner.clients.sandbox.isolation import isolation_of
from agent_runner.clients.settings.settings import Settings
from tests.integration.stack import KEY, Stack
from tests.support.waiting import eventually

GRAPH = """
import ctypes
import os
import stat
from typing import TypedDict

from langgraph.graph import START, StateGraph

PR_GET_DUMPABLE = 3


class Told(TypedDict, total=False):
    dumpable: int
    mask: int
    found: list[str]


def look(state: Told) -> Told:
    mask = os.umask(0)
    os.umask(mask)
    names = ("STIGMER_API_KEY", "AGENT_RUNNER_SECRET_KEY")
    environ = open("/proc/self/environ", errors="replace").read()
    found = [name for name in names if name in os.environ] + [key for key in state["found"] if key in environ]
    return {"dumpable": ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), "mask": mask, "found": found}


graph = StateGraph(Told).add_node("look", look).add_edge(START, "look")
"""
NO_PROGRAM = {"AGENT_RUNNER_SANDBOX_BUBBLEWRAP": "no-such-program", "AGENT_RUNNER_SANDBOX_USERS": "none"}
WHY = "not isolated: bubblewrap (no-such-program) is not installed"


@pytest.mark.parametrize("said", ["isolated", WHY])
def test_everybody_is_told_what_commands_run_in(shared_server: Stack, said: str) -> None:
    """The worker's log, the list of workers and every execution; the run itself works in both ways."""
    if said == "isolated" and isolation_of(Settings(sandbox="local")).walls is None:
        pytest.skip("commands cannot be walled off here")
    stack = shared_server
    worker = stack.start_worker(**({} if said == "isolated" else NO_PROGRAM))
    assert f"commands of agents are {said}" in worker.output()
    assert [one["sandbox"] for one in stack.workers()] == [said]
    id = stack.create("$ ls -d ../../../agent-runner.db && echo there\n$ echo works")["metadata"]["id"]
    ended = stack.wait_for(id)
    assert ended["status"]["phase"] == "EXECUTION_COMPLETED"
    assert stack.get(id)["sandbox"] == said
    looked, worked = ended["status"]["tool_calls"]
    assert ("there" in looked.get("result", "")) is (said == WHY)
    assert "works" in worked["result"]


def test_a_worker_without_walls_is_closed_all_the_same(tmp_path: Path) -> None:
    """Its process is not dumpable, its secrets are not in its environment, and what it makes is its user's alone."""
    (tmp_path / "looker.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"looker": "./looker.py:graph"}}))
    with Stack.open(tmp_path, AGENT_RUNNER_GRAPHS=str(tmp_path / "langgraph.json"), **NO_PROGRAM) as stack:
        stack.start_worker()
        made = stack.http.post("/v1/executions", json={"graph": "looker", "input": {"found": [KEY]}})
        assert made.status_code == 201, made.text
        ended = stack.wait_for(made.json()["metadata"]["id"])
        assert ended["output"] == {"dumpable": 0, "mask": 0o077, "found": []}, ended["status"]


def test_the_server_is_told_why_a_worker_does_not_start_without_walls(shared_server: Stack) -> None:
    """An execution that finds no worker quotes it."""
    shared_server.start("worker", MODE="production", **NO_PROGRAM)
    failures = eventually(lambda: shared_server.http.get("/v1/workers").json()["startup_failures"], what="its report")
    (failure,) = failures.values()
    assert "cannot be walled off here: bubblewrap (no-such-program) is not installed" in failure["text"]
    assert "AGENT_RUNNER_SANDBOX_UNSAFE" in failure["text"]
