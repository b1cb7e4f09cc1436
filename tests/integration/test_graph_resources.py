"""What a graph's context manager has open is closed with its run: by its end, a cancel, a deploy."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.shared import SharedStacks
from tests.integration.stack import Stack
from tests.support.waiting import eventually

SOURCE = """
import asyncio
import os
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from langgraph.graph import START, MessagesState, StateGraph

FOLDER = Path(os.environ["MARKS_FOLDER"])


def waits():
    async def wait(state, config):
        (FOLDER / f"{config['configurable']['execution_id']}.waits").touch()
        while not (FOLDER / "go").exists():
            await asyncio.sleep(0.02)
        return {"messages": [("ai", "went on")]}

    quick = lambda state: {}
    builder = StateGraph(MessagesState).add_node("wait", wait).add_node("quick", quick)
    return builder.add_edge(START, "wait").add_edge("wait", "quick")


def mark(config, what):
    id = config["configurable"]["execution_id"]
    with (FOLDER / f"{id}.marks").open("a") as file:
        file.write(f"{what} {os.getpid()}\\n")


@asynccontextmanager
async def awaited(config):
    mark(config, "open")
    try:
        yield waits()
    finally:
        await asyncio.sleep(0.1)
        mark(config, "closed")


@contextmanager
def blocking(config):
    mark(config, "open")
    try:
        yield waits()
    finally:
        mark(config, "closed")


async def bare(config):
    mark(config, "open")
    try:
        yield waits()
    finally:
        mark(config, "closed")


async def plain(config, runtime):
    return waits()
"""
FORMS = ("awaited", "blocking", "bare")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the graphs, where they leave their marks."""
    folder = tmp_path_factory.mktemp("graphs")
    (folder / "held.py").write_text(SOURCE)
    graphs = {name: {"path": f"./held.py:{name}"} for name in (*FORMS, "plain")}
    env = {"MARKS_FOLDER": str(folder)}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs, "dependencies": ["."], "env": env}))
    return folder


@pytest.fixture
def stack(servers: SharedStacks, graphs: Path) -> Iterator[Stack]:
    """Each test has workers of its own."""
    (graphs / "go").unlink(missing_ok=True)
    with servers.lent(AGENT_RUNNER_GRAPHS=str(graphs / "langgraph.json")) as lent:
        yield lent


def marks(folder: Path, id: str) -> list[str]:
    """`open` and `closed`, in their order."""
    file = folder / f"{id}.marks"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def wait_marks(folder: Path, id: str, wanted: list[str]) -> None:
    eventually(lambda: marks(folder, id) == wanted, what=f"{wanted} of {id}")


def begun(stack: Stack, folder: Path, form: str) -> str:
    """An execution whose graph is open and is in its first step."""
    id = str(stack.create("hi", graph=form)["metadata"]["id"])
    eventually((folder / f"{id}.waits").exists, what="its step")
    assert marks(folder, id) == ["open"]
    return id


def test_a_cancel_closes_it(stack: Stack, graphs: Path) -> None:
    """In every form; the worker goes on with the next one."""
    stack.start_worker()
    for form in FORMS:
        id = begun(stack, graphs, form)
        assert stack.http.post(f"/v1/executions/{id}/cancel").status_code < 300
        assert stack.wait_for(id)["status"]["phase"] == "EXECUTION_CANCELLED"
        wait_marks(graphs, id, ["open", "closed"])
    (graphs / "go").touch()
    id = str(stack.create("hi", graph="plain")["metadata"]["id"])
    assert stack.wait_for(id)["status"]["phase"] == "EXECUTION_COMPLETED"


def test_a_deploy_closes_it_where_it_was_and_opens_it_where_it_goes_on(stack: Stack, graphs: Path) -> None:
    """SIGTERM in the middle of a step: closed by the worker that leaves, opened anew by the one that goes on."""
    first = stack.start_worker()
    ids = [begun(stack, graphs, form) for form in FORMS]
    stack.start_worker()
    first.kill(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in first.output(), what="the first worker to know that it leaves")
    (graphs / "go").touch()
    for id in ids:
        assert stack.wait_for(id)["status"]["phase"] == "EXECUTION_COMPLETED"
        wait_marks(graphs, id, ["open", "closed"] * 2)
        where = [line.split()[1] for line in (graphs / f"{id}.marks").read_text().splitlines()]
        assert where[0] == where[1] != where[2] == where[3]
    assert first.popen.wait(30) == 0


def test_a_deploy_that_has_no_time_left_closes_it_too(stack: Stack, graphs: Path) -> None:
    """A step that does not end while the worker drains: its run ends, and nothing stays open."""
    worker = stack.start_worker(AGENT_RUNNER_DRAIN_TIMEOUT_S="1")
    ids = [begun(stack, graphs, form) for form in FORMS]
    worker.kill(signal.SIGTERM)
    for id in ids:
        assert stack.wait_for(id)["status"]["error"].endswith("[E106 WORKER_SHUTDOWN]")
    worker.popen.wait(30)
    assert [marks(graphs, id) for id in ids] == [["open", "closed"]] * 3, worker.output()[-2000:]
