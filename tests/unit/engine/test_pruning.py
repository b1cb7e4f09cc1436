"""Pruning a thread to its head: what goes, and that no turn misses it."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import DEFAULT_AGENT, Bundle
from agent_runner.clients.engine.memory.checkpoints import SqliteMemory
from agent_runner.clients.engine.memory.pruning import Saved, unneeded
from tests.unit.engine.world import Ended, World, make_world
from tests.unit.models.settings import SomeSettings

POSTGRES = os.environ.get("AGENT_RUNNER_TEST_POSTGRES_URL", "")
GRAPHS = """
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


def before(state):
    return {"messages": [AIMessage("inside")]}


def ask(state):
    return {"messages": [AIMessage("you said " + interrupt("which colour?"))]}


inner = StateGraph(MessagesState).add_node("before", before).add_node("ask", ask)
inner = inner.add_edge(START, "before").add_edge("before", "ask").compile()
asking = StateGraph(MessagesState).add_node("inner", inner).add_edge(START, "inner")

count = StateGraph(MessagesState).add_node("n", lambda s: {"messages": [AIMessage(str(len(s["messages"])))]})
keeping = count.add_edge(START, "n").compile(checkpointer=True)
kept = StateGraph(MessagesState).add_node("keeping", keeping).add_edge(START, "keeping")
"""


@pytest.fixture(params=["sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A thread of its own; on Postgres others may use the same tables."""
    if request.param == "postgres" and not POSTGRES:
        pytest.skip("needs AGENT_RUNNER_TEST_POSTGRES_URL")
    (tmp_path / "mine.py").write_text(GRAPHS)
    (tmp_path / "langgraph.json").write_text('{"graphs": {"asking": "./mine.py:asking", "kept": "./mine.py:kept"}}')
    settings = replace(SomeSettings(), graphs=tmp_path / "langgraph.json")
    async with make_world(tmp_path, settings, POSTGRES if request.param == "postgres" else "") as made:
        yield made
        await made.memory.prune(thread(made), "")


def thread(world: World) -> str:
    return f"pruning-{world.directory.name}-{os.getpid()}"


async def turn(world: World, message: str, head: str = "", bundle: Bundle | None = None) -> Ended:
    return await world.turn(message, world.run(thread(world), head=head), bundle)


async def kept(world: World) -> Counter[str]:
    """How many checkpoints there are, by namespace."""
    found = world.memory.saver.alist({"configurable": {"thread_id": thread(world)}})
    return Counter([saved.config["configurable"]["checkpoint_ns"] async for saved in found])


ORPHANS = {
    "sqlite": """
        SELECT count(*) FROM writes w WHERE thread_id = ? AND NOT EXISTS (SELECT 1 FROM checkpoints c
            WHERE c.thread_id = w.thread_id AND c.checkpoint_ns = w.checkpoint_ns AND c.checkpoint_id = w.checkpoint_id)
        """,
    "postgres": """
        SELECT (SELECT count(*) FROM checkpoint_writes w WHERE thread_id = %(t)s AND NOT EXISTS (
            SELECT 1 FROM checkpoints c WHERE c.thread_id = w.thread_id AND c.checkpoint_ns = w.checkpoint_ns
            AND c.checkpoint_id = w.checkpoint_id)
        ) + (SELECT count(*) FROM checkpoint_blobs b WHERE thread_id = %(t)s AND NOT EXISTS (
            SELECT 1 FROM checkpoints c WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns
            AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version)
        ) AS orphans
        """,
}
"""Writes and contents that no checkpoint of a thread has."""


async def orphans(world: World) -> int:
    connection: Any = world.memory.saver.conn  # type: ignore[attr-defined]
    if isinstance(world.memory.saver, SqliteMemory):
        async with connection.execute(ORPHANS["sqlite"], (thread(world),)) as cursor:
            return int((await cursor.fetchone())[0])
    async with connection.connection() as one:
        return int((await (await one.execute(ORPHANS["postgres"], {"t": thread(world)})).fetchone())["orphans"])


def tree(*rows: str) -> list[Saved]:
    """`namespace/id<parent@root`, each part but the id optional."""
    saved = []
    for row in rows:
        place, _, root = row.partition("@")
        name, _, parent = place.partition("<")
        namespace, _, id = name.rpartition("/")
        saved.append(Saved(namespace=namespace, id=id, parent=parent, root=root))
    return saved


def gone(saved: list[Saved], head: str, *also: str) -> dict[str, list[str]]:
    return dict(unneeded(saved, head, also).gone)


def test_only_the_head_and_what_came_of_it_stays() -> None:
    """So does what else a turn may begin at; a thread without that head is left alone."""
    saved = tree("1<none", "2<1", "3<2", "z<1", "zz<z", "4<3", "5<4", "w<3")
    assert gone(saved, "3") == {"": ["1", "2", "z", "zz"]}
    assert gone(saved, "5") == {"": ["1", "2", "3", "z", "zz", "4", "w"]}
    assert gone(saved, "5", "2") == {"": ["1", "3", "z", "zz", "4", "w"]}
    assert gone(saved, "none") == {}
    assert gone([], "3") == {}


def test_what_the_head_is_put_together_from_stays() -> None:
    """Back to where the channel was stored whole, and only that channel; one that was never written holds nothing."""
    counts = {"1": {"m": 1, "f": 0}, "2": {"f": 0}, "3": {"m": 1, "f": 0}, "4": {"m": 2, "f": 0}}
    saved = [
        Saved(namespace="", id=id, parent=str(int(id) - 1), root="", deltas=deltas) for id, deltas in counts.items()
    ]
    assert gone(saved, "4") == {"": ["1"]}
    assert unneeded(saved, "4").stripped == {"": {"2": frozenset("m"), "3": frozenset("m")}}
    assert gone(saved, "2") == {"": ["1"]}
    assert unneeded(saved, "4", {"1"}).gone == {}
    assert gone(saved, "1") == {}


def test_calls_of_sub_graphs_go_when_they_are_over() -> None:
    """Those of the head may still be resumed; one whose main checkpoint is not saved yet has just begun."""
    main = ("1", "2<1", "3<2", "z<1")
    saved = tree(*main, "a:1/x@1", "a:2/x@2", "a:2/y<x@2", "a:2|b:7/x@2", "a:3/x@3", "a:3|b/x@3", "a:z/x@z", "a:9/x@9")
    saved += tree("a:0/x@0")
    assert gone(saved, "2") == {"": ["1", "z"], "a:1": ["x"], "a:2": ["x"], "a:z": ["x"], "a:0": ["x"]}
    ended = {"a:1": ["x"], "a:2": ["x", "y"], "a:2|b:7": ["x"], "a:z": ["x"], "a:0": ["x"]}
    assert gone(saved, "3") == {"": ["1", "2", "z"], **ended}


def test_a_sub_graph_with_its_own_memory_keeps_its_last_state() -> None:
    """Whatever branch it was made under, and also when the main checkpoint of that time is gone."""
    saved = tree("1", "2<1", "z<1", "s/1@1", "s/z<1@z", "s/2<z@2", "s/zz<z@z")
    assert gone(saved, "2") == {"": ["1", "z"], "s": ["1", "z", "zz"]}
    assert gone(tree("5", "s/1@1", "s/2<1@2"), "5") == {"s": ["1"]}


async def test_what_a_zombie_left_goes_and_the_next_turn_remembers(world: World) -> None:
    """Branches go with what was in them; the conversation from the head is the same as before, again and again."""
    first = await turn(world, "my name is Ada")
    await turn(world, "I am a zombie", first.head)
    await turn(world, "I am another", first.head)
    second = await turn(world, "and I like engines", first.head)
    before = await kept(world)
    count = await world.memory.prune(thread(world), second.head)
    assert count > 0
    assert await kept(world) == before - Counter({"": count})
    assert await orphans(world) == 0
    assert await world.memory.prune(thread(world), second.head) == 0
    third = await turn(world, "what did I say?", second.head)
    assert "1. my name is Ada\n2. and I like engines" in third.answer
    assert "zombie" not in third.answer
    fourth = await turn(world, "what did I say now?", third.head)
    assert "3. what did I say?" in fourth.answer


async def test_a_long_conversation_stays_whole(world: World) -> None:
    """More turns than one stored state spans: what the head is made of goes back to the first."""
    head = ""
    for n in range(20):
        ended = await turn(world, f"note {n}", head)
        await turn(world, "dead end", head)
        head = ended.head
    await world.memory.prune(thread(world), head)
    last = await turn(world, "what did I say?", head)
    for n in range(20):
        assert f"{n + 1}. note {n}" in last.answer
    assert "dead end" not in last.answer


async def test_a_turn_that_began_at_the_head_is_not_disturbed(world: World) -> None:
    """A message that comes late names an old head: what came of it since, and what is being written, stays."""
    first = await turn(world, "turn one")
    reached, goes = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await goes.wait()

    run = world.run(thread(world), head=first.head)
    run.gate = hold
    going = asyncio.create_task(world.turn("turn two\n$ echo done", run))
    await asyncio.wait_for(reached.wait(), 20)
    await world.memory.prune(thread(world), first.head)
    goes.set()
    second = await going
    assert await world.memory.prune(thread(world), first.head) == 0
    third = await turn(world, "what did I say?", second.head)
    assert "1. turn one\n2. turn two" in third.answer


async def test_the_inside_of_sub_agents_goes(world: World) -> None:
    """Their steps are the larger part of what a thread holds, and no turn reads them again."""
    bundle = replace(DEFAULT_AGENT, model_name="demo")
    first = await turn(world, "@researcher find the file $ ls", bundle=bundle)
    before = await kept(world)
    assert set(before) > {""}
    await world.memory.prune(thread(world), first.head)
    assert set(await kept(world)) == {""}
    assert await orphans(world) == 0
    second = await turn(world, "what did I say?", first.head, bundle)
    assert "1. @researcher find the file" in second.answer


async def test_a_question_inside_of_a_sub_graph_can_be_answered(world: World) -> None:
    """What the call has done so far is kept: the answer goes on from the question."""
    bundle = Bundle(graph="asking")
    asked = await turn(world, "paint it", bundle=bundle)
    assert asked.waits
    before = await kept(world)
    assert set(before) > {""}
    await world.memory.prune(thread(world), asked.head)
    assert set(await kept(world)) == set(before)
    answered = await turn(world, "blue", asked.head, bundle)
    assert [m.text for m in answered.messages] == ["paint it", "inside", "you said blue"]
    assert await world.memory.prune(thread(world), answered.head) > 0
    assert set(await kept(world)) == {""}


async def test_a_sub_graph_that_remembers_goes_on_remembering(world: World) -> None:
    """One that is compiled with a memory of its own counts on as in a thread that was never pruned."""
    bundle, answers = Bundle(graph="kept"), []
    for pruned in (False, True):
        head, said = "", []
        for message in ("one", "two", "three", "four"):
            ended = await turn(world, message, head, bundle)
            head = ended.head
            said.append(int(ended.answer))
            if pruned:
                await world.memory.prune(thread(world), head)
        answers.append(said)
        await world.memory.prune(thread(world), "")
    assert answers[0] == answers[1]
    assert answers[0] == sorted(set(answers[0])), "it counts"


async def test_a_whole_thread_goes_and_no_other(world: World) -> None:
    """Without a head; a head that is not there takes nothing."""
    first = await turn(world, "mine")
    other = f"{thread(world)}-other"
    neighbour = await world.turn("theirs", world.run(other))
    assert await world.memory.prune(thread(world), "no-such-head") == 0
    assert (await turn(world, "what did I say?", first.head)).answer.count("1. mine") == 1
    await world.memory.prune(thread(world), "")
    assert not await kept(world)
    assert "1. theirs" in (await world.turn("what did I say?", world.run(other, head=neighbour.head))).answer
    await world.memory.prune(other, "")
