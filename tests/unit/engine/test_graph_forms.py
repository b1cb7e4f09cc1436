"""What a graph may be in langgraph.json, and what it is given: context, config, facts, secrets, a store."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.factory import EngineFactory
from agent_runner.clients.engine.memory.checkpoints import open_saver
from agent_runner.clients.engine.store.org_store import OrgStore
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.engine.turn import Given, call_config, open_turn
from agent_runner.clients.engine.user_graphs import run_environment
from agent_runner.clients.engine.user_graphs.graph_functions import close
from agent_runner.clients.engine.user_graphs.run_context import (
    RunContext,
    RunContextError,
    context_for,
    facts_of,
    lacking,
    limit_of,
)
from agent_runner.clients.engine.user_graphs.user_graphs import GraphError
from agent_runner.status.log.builder import StatusBuilder
from tests.unit.models.settings import SomeSettings

FORMS = """
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph_sdk.runtime import ServerRuntime

from .forms_beside import WORD

opened = []


@dataclass
class Context:
    tenant: str
    seats: int = 1


def built(text):
    node = lambda state: {"messages": [AIMessage(text)]}
    return StateGraph(MessagesState, context_schema=Context).add_node("n", node).add_edge(START, "n").compile()


plain = built(WORD)
limited = plain.with_config(recursion_limit=7)
runnable = RunnableLambda(lambda x: x)


def no_parameter():
    return built("none")


async def by_name(config, runtime):
    return built(f"{config['configurable']['thread_id']} {runtime.user.identity}")


def by_annotation(first: ServerRuntime[Context], second: RunnableConfig):
    return built(f"{second['configurable']['thread_id']} {first.execution_runtime.context.tenant}")


def with_default(config, retries=3):
    return built(str(retries))


def wants_more(config, runtime, database):
    return built("never")


def asks_nobody(config):
    raise ValueError("no tenant")


async def asks_many(config):
    raise ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("no tenant"), OSError("no disk")])


@asynccontextmanager
async def pooled(config):
    opened.append("async")
    try:
        yield built("pooled")
    finally:
        opened.remove("async")


@contextmanager
def pooled_blocking():
    opened.append("sync")
    try:
        yield built("pooled")
    finally:
        opened.remove("sync")


async def bare(config):
    opened.append("bare")
    yield built("pooled")
    opened.remove("bare")


def returned(config):
    return pooled(config)


@asynccontextmanager
async def closes_badly(config):
    yield built("x")
    raise RuntimeError("cannot close")


@entrypoint()
def total(numbers: list[int], *, previous: int | None = None) -> int:
    return sum(numbers) + (previous or 0)


@entrypoint()
async def shout(text: str) -> str:
    return text.upper()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "forms.py").write_text(FORMS)
    (tmp_path / "forms_beside.py").write_text("WORD = 'plain'\n")
    package = tmp_path / "own_package_of_forms"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("WORD = 'packaged'\n")
    (package / "inner.py").write_text(FORMS.replace("from .forms_beside", "from .words"))
    names = "plain limited runnable no_parameter by_name by_annotation with_default wants_more pooled pooled_blocking"
    graphs: dict[str, Any] = {
        n: f"./forms.py:{n}" for n in f"{names} bare returned closes_badly total shout asks_nobody asks_many".split()
    }
    graphs["packaged"] = {"path": "./own_package_of_forms/inner.py:plain", "configurable": ["model"]}
    graphs["dotted"] = "own_package_of_forms.inner:plain"
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    return tmp_path / "langgraph.json"


@pytest.fixture
async def engine(project: Path) -> AsyncIterator[EngineFactory]:
    url = f"sqlite:///{project.parent}/memory.db"
    store = OrgStore(url)
    async with await open_saver(url) as memory:
        yield EngineFactory(replace(SomeSettings(), graphs=project), memory.saver, store)
    await store.aclose()


def some_run(org: str = "acme", **given: Any) -> CurrentRun:
    facts = facts_of(execution_id="e", session_id="s", org=org, caller="ann", attempt=1, graph="g")
    return CurrentRun(thread_id="t", org=org, context=RunContext(facts=facts, **given))


async def answer(engine: EngineFactory, name: str, run: CurrentRun) -> str:
    bundle = Bundle(graph=name)
    with running(run):
        graph = await engine.graph(bundle, {"configurable": {"thread_id": "t"}})
        context = context_for(graph, run.context, name)
        ended = await graph.ainvoke({"messages": [("user", "hi")]}, call_config(run, bundle), context=context)
    return str(ended["messages"][-1].text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plain", "plain"),
        ("packaged", "packaged"),
        ("dotted", "packaged"),
        ("no_parameter", "none"),
        ("by_name", "t ann"),
        ("by_annotation", "t acme"),
        ("with_default", "3"),
    ],
)
async def test_every_form_of_a_graph_is_used(engine: EngineFactory, name: str, said: str) -> None:
    """A file with relative imports, a module, and functions with config, runtime, both, or neither."""
    assert await answer(engine, name, some_run(context={"tenant": "acme"})) == said


@pytest.mark.parametrize("name", ["pooled", "pooled_blocking", "bare", "returned"])
async def test_a_context_manager_is_open_for_the_run_and_closed_after_it(engine: EngineFactory, name: str) -> None:
    """However it is written; also when the run failed."""
    for error in (None, ValueError("the run failed")):
        run = some_run()
        assert await answer(engine, name, run) == "pooled"
        opened = await engine.user_graphs._load("plain", "./forms.py:opened")
        assert len(opened) == 1
        await close(run.resources, error, 5.0, "e")
        assert opened == [] or name == "bare"
        opened.clear()


async def test_a_manager_that_cannot_close_is_logged(engine: EngineFactory, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is told and changes nothing about the run."""
    run = some_run()
    await answer(engine, "closes_badly", run)
    await close(run.resources, None, 5.0, "e")
    assert "cannot close" in caplog.text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("runnable", "graph 'runnable' is RunnableLambda, .* make it a node"),
        ("wants_more", "graph 'wants_more' could not be made, its function wants 'database': it may take"),
        ("asks_nobody", "graph 'asks_nobody' could not be made, its function failed: ValueError: no tenant"),
        ("asks_many", "could not be made, its function failed: 2 errors: ValueError: no tenant; OSError: no disk"),
    ],
)
async def test_what_cannot_be_used_says_why(engine: EngineFactory, name: str, told: str) -> None:
    """A Runnable without steps, a function that wants more than there is, and functions that fail."""
    with running(some_run()), pytest.raises(GraphError, match=told):
        await engine.graph(Bundle(graph=name), {})


async def test_the_functional_api_takes_any_input_and_remembers(engine: EngineFactory) -> None:
    """An entrypoint's input is no object of channels; `previous` is what its last run gave."""
    run = some_run()
    with running(run):
        graph = await engine.graph(Bundle(graph="total"), {})
        config: Any = {"configurable": {"thread_id": "functional"}}
        assert await graph.ainvoke([1, 2], config) == 3
        assert await graph.ainvoke([4], config) == 7


async def test_a_message_is_the_input_of_an_entrypoint_that_takes_a_text(engine: EngineFactory) -> None:
    """Its final value is the output; where a message fits nothing, what to give is said."""
    run = some_run()
    with running(run):
        graph = await engine.graph(Bundle(graph="shout"), {})
        turn = await open_turn(graph, run, Bundle(graph="shout"), Given(message="hello"))
        builder = StatusBuilder()
        told = [d async for e in run_events(graph, turn.input, turn.config) for d in builder.feed(e)]
    assert [d.payload["output"] for d in told if d.kind == "output"] == ["HELLO"]


async def test_a_node_may_be_a_generator_function() -> None:
    """Its last value is the node's output, as in LangGraph's `invoke` and `astream`."""

    def count(state: MessagesState) -> Iterator[dict[str, Any]]:
        yield {"messages": [AIMessage("one")]}
        yield {"messages": [AIMessage("two")]}

    graph = StateGraph(MessagesState).add_node("count", count).add_edge(START, "count").compile()
    builder = StatusBuilder()
    told = [d async for e in run_events(graph, {"messages": []}, {}) for d in builder.feed(e)]
    assert [d.payload["content"] for d in told if d.kind == "message"] == ["two"]


@pytest.mark.parametrize(
    ("context", "told"),
    [({"tenent": "a"}, "context.tenent"), ({"tenant": 1}, "context.tenant"), ({"seats": 2}, "context.tenant")],
)
async def test_a_context_that_does_not_fit_is_named(engine: EngineFactory, context: Any, told: str) -> None:
    """An unknown field, a wrong type, a missing field: the error says which."""
    with pytest.raises(RunContextError, match=told):
        await answer(engine, "plain", some_run(context=context))


async def test_a_context_that_is_not_given_is_spoken_of(engine: EngineFactory) -> None:
    """A graph whose context has fields without defaults runs without one; what it lacked is known if it fails."""
    with running(some_run()):
        plain = await engine.graph(Bundle(graph="plain"), {})
    assert context_for(plain, RunContext(), "plain") is None
    assert "declares a context (tenant, seats) and this execution gave none" in lacking(plain, RunContext(), "plain")
    for given in (RunContext(context={"tenant": "a"}), RunContext(config={"configurable": {"tenant": "a"}})):
        assert lacking(plain, given, "plain") == ""
    assert lacking(object(), RunContext(), "none") == ""


async def test_only_known_names_reach_configurable(engine: EngineFactory) -> None:
    """Those of the context_schema, and those that langgraph.json lists; declared ones are the context too."""
    assert await answer(engine, "plain", some_run(config={"configurable": {"tenant": "a"}})) == "plain"
    assert await answer(engine, "packaged", some_run(config={"configurable": {"model": "m"}})) == "packaged"
    with pytest.raises(RunContextError, match=r"config.configurable.base_url: .* AGENT_RUNNER_CONFIGURABLE"):
        await answer(engine, "plain", some_run(config={"configurable": {"base_url": "http://elsewhere"}}))
    with running(some_run()):
        graph = await engine.graph(Bundle(graph="plain"), {})
    made = context_for(graph, RunContext(config={"configurable": {"tenant": "a"}}), "plain")
    assert (made.tenant, made.seats) == ("a", 1)


async def test_the_authors_limit_wins_over_ours_and_the_callers_over_both(engine: EngineFactory) -> None:
    """1000 steps only where nobody said anything; an agent that we built has ours."""
    with running(some_run()):
        limited, plain = [await engine.graph(Bundle(graph=name), {}) for name in ("limited", "plain")]
    assert limit_of(limited, RunContext(), own=True) == 7
    assert limit_of(limited, RunContext(config={"recursion_limit": 9}), own=True) == 9
    assert limit_of(plain, RunContext(), own=True) == 1000
    assert limit_of(limited, RunContext(), own=False) == 1000


async def test_facts_and_config_are_in_the_call() -> None:
    """Our own names win; tags, metadata and limits are passed on."""
    run = some_run(config={"tags": ["x"], "metadata": {"a": 1}, "max_concurrency": 2, "configurable": {"b": 2}})
    config = call_config(run, Bundle(graph="g"), head="c")
    configurable = config["configurable"]
    assert (configurable["execution_id"], configurable["session_id"], configurable["b"]) == ("e", "s", 2)
    assert (configurable["thread_id"], configurable["checkpoint_id"]) == ("t", "c")
    assert configurable["langgraph_auth_user"].identity == "ann"
    assert (config["tags"], config["metadata"], config["max_concurrency"]) == (["x"], {"a": 1}, 2)


def test_each_run_sees_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In `os.environ` and `os.getenv`, only inside of the run; what it sets there reaches nobody else."""
    run_environment.install()
    monkeypatch.setenv("SHARED_BY_ALL", "process")
    one, other = (CurrentRun(thread_id="t", env={"CRM_TOKEN": value}) for value in ("one", "other"))
    for run in (one, other):
        with running(run):
            assert os.environ["CRM_TOKEN"] == os.getenv("CRM_TOKEN") == run.env["CRM_TOKEN"]
            assert (os.environ["SHARED_BY_ALL"], "CRM_TOKEN" in os.environ) == ("process", True)
            assert dict(os.environ)["CRM_TOKEN"] == run.env["CRM_TOKEN"]
    with running(one):
        os.environ["CRM_TOKEN"] = "changed"
    with running(other):
        assert os.environ["CRM_TOKEN"] == "other"
    assert "CRM_TOKEN" not in os.environ


async def test_resources_are_empty_by_default() -> None:
    """A run that opened nothing closes nothing."""
    assert isinstance(some_run().resources, AsyncExitStack)
