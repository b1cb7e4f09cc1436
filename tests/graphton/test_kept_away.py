"""What graphton does besides building agents does not reach the worker. Runs by `make test-graphton` only."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import Bundle, SubAgentSpec
from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.engine.factory import EngineError
from agent_runner.status.requests.approvals import rules_of
from tests.unit.engine.world import World, make_world
from tests.unit.models.settings import SomeSettings
from tests.unit.status_builder.scripted_model import ScriptedModel, in_turn, said

pytest.importorskip("graphton", reason="graphton has an environment of its own: make test-graphton")

GRAPHTON = replace(SomeSettings(), engine="graphton")


@pytest.fixture(autouse=True)
def _nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"the network was asked for {args}")

    monkeypatch.setattr("urllib.request.urlopen", asked)
    monkeypatch.setenv("AGENT_RUNNER_DEMO_TOKEN_DELAY_MS", "0")


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    async with make_world(tmp_path, GRAPHTON) as made:
        yield made


async def test_the_event_loop_stays_as_it_is(world: World) -> None:
    """`nest_asyncio` would replace the tasks of the whole process for good."""
    await world.turn("@researcher $ echo hi", world.run())
    assert asyncio.Task.__module__ == "_asyncio"
    assert asyncio.run.__module__ == "asyncio.runners"


async def test_each_run_has_a_graph_of_its_own(world: World) -> None:
    """Its middleware counts on the instance: what one run did would count for another."""
    assert await world.factory.graph(Bundle()) is not await world.factory.graph(Bundle())


async def test_the_model_is_not_touched(world: World) -> None:
    """Neither the model that was given nor that of the graph gets a callback, which each token would wait for."""
    from agent_runner.clients.engine.engines.graphton_agent import build_graphton_agent

    model = ScriptedModel(reply=in_turn(said("Hi.")))
    for _ in range(3):
        build_graphton_agent(Bundle(), model, None)
    assert not model.callbacks


async def test_five_sub_agents_at_a_time_under_approval(world: World) -> None:
    """graphton's own approvals let three work, and the fourth ends the run with an AttributeError."""
    bundle = Bundle(
        model_name="demo",
        instructions="Do it.",
        sub_agents=tuple(SubAgentSpec(name=f"clerk{n}", description="files") for n in range(5)),
        approvals=rules_of('{"delete": true}'),
    )
    ended = await world.turn("\n".join(f"@clerk{n} $ echo {n}" for n in range(5)), world.run(), bundle)
    assert [m.status for m in ended.tool_messages("task")] == ["success"] * 5


async def test_commands_do_not_see_the_workers_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """graphton's own sandbox is the worker's host with all of its variables."""
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "hush")
    assert os.environ["SECRET_OF_THE_WORKER"] == "hush"
    ended = await world.turn("$ env", world.run())
    (printed,) = ended.tool_messages("execute")
    assert "PATH=" in str(printed.text)
    assert "hush" not in str(printed.text)


async def test_instructions_may_be_short(world: World) -> None:
    """graphton refuses less than ten characters, also those of a sub-agent."""
    short = SubAgentSpec(name="x", description="x")
    bundle = Bundle(model_name="demo", instructions="Go.", sub_agents=(short,), sandboxed=False)
    assert (await world.turn("hello", CurrentRun(thread_id="t"), bundle)).answer


async def test_the_other_engine_is_refused_here(tmp_path: Path) -> None:
    """It needs a deepagents that graphton does not allow; the error names both ways out."""
    async with make_world(tmp_path, replace(SomeSettings(), engine="deepagents")) as world:
        with pytest.raises(EngineError, match=r"this environment has 0\.4\.12, which is graphton's"):
            await world.factory.graph(Bundle())
