"""What the author of a graph bound to it holds in a run: concurrency, the time of a step, retries."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.factory import EngineFactory
from agent_runner.clients.engine.memory.checkpoints import open_saver
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.engine.turn import Given, open_turn
from agent_runner.clients.engine.user_graphs.run_context import RunContext, facts_of
from tests.unit.models.settings import SomeSettings

GRAPHS = """
import asyncio
import operator
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy


class State(TypedDict, total=False):
    most: Annotated[list[int], operator.add]


now = 0
attempts = 0
released = asyncio.Event()


async def one(state):
    global now
    now += 1
    try:
        seen = now
        for _ in range(20):  # the others begin meanwhile, if they may
            await asyncio.sleep(0.005)
            seen = max(seen, now)
        return {"most": [seen]}
    finally:
        now -= 1


async def slow(state):
    await asyncio.Event().wait()


async def flaky(state):
    global attempts
    attempts += 1
    if attempts < 3:
        raise ConnectionError("again")
    return {"most": [attempts]}


def wide():
    builder = StateGraph(State)
    for number in range(5):
        builder.add_node(f"n{number}", one).add_edge(START, f"n{number}")
    return builder.compile()


free = wide()
narrow = wide().with_config(max_concurrency=2)
nested = StateGraph(State).add_node("inner", narrow).add_edge(START, "inner")
hasty = StateGraph(State).add_node("slow", slow).add_edge(START, "slow").compile()
hasty.step_timeout = 0.05
policy = RetryPolicy(max_attempts=3, initial_interval=0.001, retry_on=ConnectionError)
retried = StateGraph(State).add_node("flaky", flaky, retry_policy=policy).add_edge(START, "flaky").compile()


def made(config):
    return narrow


async def hasty_made(config):
    return hasty
"""


async def ran(folder: Path, name: str, **config: Any) -> list[int]:
    """The most nodes at once that each node saw, as a whole run of the engine gives it."""
    (folder / "limits_of_authors.py").write_text(GRAPHS)
    names = ("free", "narrow", "nested", "hasty", "retried", "made", "hasty_made")
    graphs = {name: f"./limits_of_authors.py:{name}" for name in names}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    settings = replace(SomeSettings(), graphs=folder / "langgraph.json")
    facts = facts_of(execution_id="e", session_id="s", org="o", caller="c", attempt=1, graph=name)
    run = CurrentRun(thread_id="t", org="o", context=RunContext(facts=facts, config=config))
    bundle = Bundle(graph=name)
    async with await open_saver(f"sqlite:///{folder}/memory.db") as memory:
        engine = EngineFactory(settings, memory.saver)
        with running(run):
            graph = await engine.graph(bundle, {})
            turn = await open_turn(graph, run, bundle, Given(input_json="{}"))
            async for _ in run_events(graph, turn.input, turn.config):
                pass
            state = await graph.aget_state({"configurable": {"thread_id": "t"}})
    return list(state.values["most"])


@pytest.mark.parametrize(
    ("name", "config", "most"),
    [
        ("free", {}, 5),
        ("narrow", {}, 2),
        ("made", {}, 2),
        ("nested", {}, 2),
        ("narrow", {"max_concurrency": 4}, 4),
        ("narrow", {"max_concurrency": 1}, 1),
        ("free", {"max_concurrency": 3}, 3),
    ],
)
async def test_max_concurrency_is_the_authors_unless_the_caller_says_otherwise(
    tmp_path: Path, name: str, config: dict[str, Any], most: int
) -> None:
    """As many nodes at once as was bound to the graph, also inside of another one and from a function."""
    assert max(await ran(tmp_path, name, **config)) == most


@pytest.mark.parametrize("name", ["hasty", "hasty_made"])
async def test_a_step_ends_at_the_authors_timeout(tmp_path: Path, name: str) -> None:
    """`step_timeout` on the compiled graph; the run fails by it and not by a limit of ours."""
    with pytest.raises(TimeoutError):
        await ran(tmp_path, name)


async def test_a_retry_policy_holds(tmp_path: Path) -> None:
    """The third attempt is the one that counts."""
    assert await ran(tmp_path, "retried") == [3]
