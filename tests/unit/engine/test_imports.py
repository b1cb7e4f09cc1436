"""What several runs need at once is made once: imports of users' graphs, builds."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import running
from agent_runner.clients.engine.user_graphs.user_graphs import GraphError
from agent_runner.clients.process.shared_work import SharedWork
from tests.unit.engine.world import World, make_world
from tests.unit.models.settings import SomeSettings

SLOW = """
import threading
from pathlib import Path
from langgraph.graph import START, MessagesState, StateGraph

HERE = Path(__file__).parent
with open(HERE / "imports", "a") as file:
    file.write("one\\n")
while not (HERE / "go").exists():
    threading.Event().wait(0.01)
if "fail" in (HERE / "go").read_text():
    raise ValueError("no data")

graph = StateGraph(MessagesState).add_node("n", lambda s: {"messages": [("ai", "done")]}).add_edge(START, "n")
other = graph.compile()
"""
QUICK = """
from langgraph.graph import START, MessagesState, StateGraph
graph = StateGraph(MessagesState).add_node("n", lambda s: {"messages": [("ai", "quick")]}).add_edge(START, "n")
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """One file whose import waits for a file `go`, and one that is quick."""
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "quick.py").write_text(QUICK)
    graphs = {"slow": "./slow.py:graph", "other": "./slow.py:other", "quick": "./quick.py:graph"}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    yield tmp_path
    if not (tmp_path / "go").exists():
        (tmp_path / "go").write_text("")


@pytest.fixture
async def world(project: Path) -> AsyncIterator[World]:
    async with make_world(project, replace(SomeSettings(), graphs=project / "langgraph.json")) as world:
        yield world


async def begun(project: Path) -> None:
    """The slow file is being imported."""
    until = time.monotonic() + 30
    while not (project / "imports").exists():
        assert time.monotonic() < until, "the import did not begin"
        await asyncio.sleep(0.01)


def imports(project: Path) -> int:
    return len((project / "imports").read_text().splitlines())


async def test_the_run_after_a_cancelled_one_waits_for_the_same_import(project: Path, world: World) -> None:
    """No half-made module is used and nothing is imported twice, also by another graph of the same file."""
    first = asyncio.create_task(world.factory.graph(Bundle(graph="slow")))
    await begun(project)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    later = [asyncio.create_task(world.factory.graph(Bundle(graph=name))) for name in ("slow", "other", "slow")]
    done, _ = await asyncio.wait(later, timeout=0.3)
    assert done == set()
    (project / "go").write_text("")
    graphs = await asyncio.gather(*later)
    assert graphs[0] is graphs[2]
    assert imports(project) == 1


async def test_a_slow_import_holds_up_no_other_graph(project: Path, world: World) -> None:
    """While one file is being imported, other graphs load, and agents are built."""
    slow = asyncio.create_task(world.factory.graph(Bundle(graph="slow")))
    await begun(project)
    assert (await world.turn("hi", world.run(), Bundle(graph="quick"))).answer == "quick"
    assert await world.factory.graph(Bundle(instructions="Help."))
    assert not slow.done()
    (project / "go").write_text("")
    assert await slow


async def test_a_failed_import_is_told_to_all_and_tried_again(project: Path, world: World) -> None:
    """Each run that waited gets the error; the next one imports anew."""
    waiting = [asyncio.create_task(world.factory.graph(Bundle(graph=name))) for name in ("slow", "other")]
    await begun(project)
    (project / "go").write_text("fail")
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error).__name__ for error in errors] == ["GraphError", "GraphError"]
    assert "graph 'other': importing ./slow.py failed: ValueError: no data" in str(errors[1])
    (project / "go").write_text("")
    assert await world.factory.graph(Bundle(graph="slow"))
    assert imports(project) == 2


async def test_an_import_that_does_not_end_is_what_the_run_was_doing(project: Path, world: World) -> None:
    """A run whose time is up meanwhile can say so."""
    run = world.run()
    with running(run):
        loading = asyncio.create_task(world.factory.graph(Bundle(graph="slow")))
    await begun(project)
    assert run.doing == "the import of ./slow.py:graph"
    (project / "go").write_text("")
    await loading
    assert run.doing == ""


async def test_imports_that_never_end_take_no_thread_from_others(tmp_path: Path) -> None:
    """As many as there are threads for set-up, and more: the next graph loads."""
    names = [f"hung{n}" for n in range(20)]
    for name in names:
        (tmp_path / f"{name}.py").write_text(SLOW.replace('"imports"', f'"{name}.imports"'))
    (tmp_path / "quick.py").write_text(QUICK)
    graphs = {name: f"./{name}.py:graph" for name in names} | {"quick": "./quick.py:graph"}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    async with make_world(tmp_path, replace(SomeSettings(), graphs=tmp_path / "langgraph.json")) as world:
        hung = [asyncio.create_task(world.factory.graph(Bundle(graph=name))) for name in names]
        assert await world.factory.graph(Bundle(graph="quick"))
        assert not any(task.done() for task in hung)
        (tmp_path / "go").write_text("")
        await asyncio.gather(*hung)


async def test_who_waits_for_shared_work_is_not_in_it() -> None:
    """It is done once, in nobody's name, and outlives the one who asked first."""
    gate, shared, starts = asyncio.Event(), SharedWork[str, int](2), []

    async def work() -> int:
        starts.append(threading.current_thread().name)
        await gate.wait()
        return len(starts)

    first = asyncio.create_task(shared.get("k", work))
    second = asyncio.create_task(shared.get("k", work))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second == 1
    assert await shared.get("k", work) == 1


async def test_a_wrong_name_needs_no_import(project: Path, world: World) -> None:
    """It is told at once, though an import is going on."""
    slow = asyncio.create_task(world.factory.graph(Bundle(graph="slow")))
    await begun(project)
    with pytest.raises(GraphError, match="It has: other, quick, slow"):
        await world.factory.graph(Bundle(graph="nobody"))
    (project / "go").write_text("")
    await slow
