"""LangGraph's events out of callbacks: whatever a node does, they are those of `astream_events`; nothing is left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
from deepagents import create_deep_agent
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, AsyncCallbackManager, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from agent_runner.clients.engine.stream import event_stream
from agent_runner.clients.engine.stream.event_handler import EventHandler
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.engine.stream.graph_parts import GraphParts
from agent_runner.status.log.events import MessageFinished, MessageText
from agent_runner.status.requests.run_request import EVENTS, VALUES, RunRequest
from tests.unit.status_builder.runs import add, agent, tell
from tests.unit.status_builder.scripted_model import ScriptedModel, in_turn, said
from tests.unit.status_builder.test_deep_agent import FULL_RUN

ASKED = {"messages": [("user", "go")]}


def graph_of(*nodes: Any) -> Any:
    graph = StateGraph(MessagesState)
    for before, node in zip((START, *(n.__name__ for n in nodes)), nodes, strict=False):
        graph.add_node(node.__name__, node).add_edge(before, node.__name__)
    return graph.compile()


def speaker(*answers: str, **more: Any) -> ScriptedModel:
    return ScriptedModel(reply=in_turn(*map(said, answers)), **more)


async def asks(state: MessagesState) -> Any:
    return {"messages": [await speaker("By the loop.").ainvoke(state["messages"])]}


def asks_from_a_thread(state: MessagesState) -> Any:
    return {"messages": [speaker("By a thread.").invoke(state["messages"])]}


async def asks_twice_for_the_price_of_one(state: MessagesState) -> Any:
    model = speaker("Kept.", disable_streaming=True, cache=InMemoryCache())
    await model.ainvoke(state["messages"])
    return {"messages": [await model.ainvoke(state["messages"])]}


async def asks_one_that_dies(state: MessagesState) -> Any:
    dying = speaker("I will die of this.", dies_after=2)
    return {"messages": [await dying.with_fallbacks([speaker("I live.")]).ainvoke(state["messages"])]}


async def asks_no_chat_model(state: MessagesState) -> Any:
    return {"messages": [AIMessage(await FakeListLLM(responses=["Plain words."]).ainvoke("x"))]}


async def reads_another_graphs_events(state: MessagesState) -> Any:
    async for _ in graph_of(asks).astream_events(state, version="v2"):
        pass
    return {"messages": [AIMessage("Read.")]}


class AsksWhatToFind(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        found = speaker("A better query.").invoke(query, {"callbacks": run_manager.get_child()})
        return [Document(str(found.text))]


async def retrieves(state: MessagesState, config: RunnableConfig) -> Any:
    found = await AsksWhatToFind().ainvoke("x", config)
    return {"messages": [AIMessage(found[0].page_content)]}


async def calls_a_tool_itself(state: MessagesState) -> Any:
    return {"messages": [AIMessage(str(await add.ainvoke({"a": 1, "b": 2})))]}


@pytest.mark.parametrize(
    ("node", "answer"),
    [
        (asks, "By the loop."),
        (asks_from_a_thread, "By a thread."),
        (asks_twice_for_the_price_of_one, "Kept."),
        (asks_one_that_dies, "I live."),
        (asks_no_chat_model, "Plain words."),
        (reads_another_graphs_events, "Read."),
        (retrieves, "A better query."),
        (calls_a_tool_itself, "3"),
    ],
)
async def test_whatever_a_node_asks_is_told(node: Any, answer: str) -> None:
    """Models by every way, a retriever, a tool, another graph: the answer is shown (and both sources tell the same)."""
    told = await tell(graph_of(node), "go")
    assert told.error is None
    assert told.texts()[-1] == answer


async def test_what_a_tool_left_running_is_the_tools() -> None:
    """A model that is asked after the tool has ended, by what the tool started, speaks within the tool's scope."""
    left: list[asyncio.Task[Any]] = []
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        await speaker("Late.").ainvoke("x")

    @tool
    async def start() -> str:
        """Start something."""
        left.append(asyncio.create_task(later()))
        return "started"

    async def call(state: MessagesState) -> Any:
        return {"messages": [await start.ainvoke({"type": "tool_call", "id": "c", "name": "start", "args": {}})]}

    async def wait(state: MessagesState) -> Any:
        ended.set()
        await left[0]
        return {}

    found = [e async for e in run_events(graph_of(call, wait), ASKED, {}) if isinstance(e, MessageText)]
    assert [event.text for event in found] == ["Late."]
    assert all(event.scope for event in found)


@pytest.mark.parametrize("managed", [False, True])
async def test_the_callers_callbacks_are_called_too(managed: bool) -> None:
    """Those of a list and those of a manager."""

    class Heard(BaseCallbackHandler):
        nodes: list[str]

        def on_chain_start(self, *args: Any, **told: Any) -> None:
            self.nodes.append(told["name"])

    heard = Heard()
    heard.nodes = []
    given: Any = AsyncCallbackManager([heard], [heard]) if managed else [heard]
    told = await tell(graph_of(asks), "go", callbacks=given)
    assert told.texts() == ["By the loop."]
    assert heard.nodes[:2] == ["LangGraph", "asks"]


class Refuses(AsyncCallbackHandler):
    raise_error = True
    run_inline = True

    async def on_llm_end(self, *args: Any, **rest: Any) -> None:
        raise ValueError("this answer is none")


async def listened(told: list[type], events: AsyncIterator[Any]) -> None:
    async for event in events:
        told.append(type(event))  # noqa: PERF401 - what came before an error counts


@pytest.mark.parametrize("managed", [False, True])
async def test_an_answer_that_a_callback_refuses_is_no_message(managed: bool) -> None:
    """Whoever is asked before us says that it does not count: its message broke off, and has no calls."""
    manager = AsyncCallbackManager(handlers=[])
    manager.add_handler(Refuses(), inherit=True)
    config = RunnableConfig(callbacks=manager if managed else [Refuses()])
    told: list[type] = []
    with pytest.raises(ValueError, match="this answer is none"):
        await listened(told, run_events(graph_of(asks), ASKED, config))
    assert MessageText in told
    assert MessageFinished not in told


async def test_nothing_is_kept_of_runs_that_have_ended() -> None:
    """Sub-agents, tools, failures, parallel calls: at the end no run is open."""
    root = uuid4()
    events: list[Any] = []
    handler = EventHandler(events.append, root)
    graph = agent(ScriptedModel(reply=FULL_RUN))
    async for _ in graph.astream(ASKED, {"run_id": root, "callbacks": [handler], "recursion_limit": 100}):
        pass
    assert events
    assert handler.open == 0


async def test_all_events_are_read_only_for_who_reports_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that reports the part `events` has `astream_events` as its source, any other run has callbacks."""
    read: list[str] = []

    def watch(name: str) -> None:
        source = getattr(event_stream, name)

        def watched(*args: Any, **options: Any) -> Any:
            read.append(name)
            return source(*args, **options)

        monkeypatch.setattr(event_stream, name, watched)

    watch("read_events")
    watch("all_events")
    for part in (VALUES, EVENTS):
        parts = GraphParts(RunRequest(parts=(part,)))
        assert [event async for event in run_events(graph_of(asks), ASKED, {}, parts)]
    assert read == ["read_events", "all_events"]


class Breathless(ScriptedModel):
    """Speaks without ever waiting, until it was heard."""

    heard: list[str]

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for number in range(100_000):
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{number} ", id="m"))
            if self.heard:
                break
        yield ChatGenerationChunk(message=AIMessageChunk(content="", id="m", chunk_position="last"))


async def test_a_model_that_never_waits_is_heard_while_it_speaks() -> None:
    """Its text does not pile up until it ends, and the loop goes on meanwhile."""
    heard: list[str] = []
    model = Breathless(reply=in_turn(said("x")), heard=[])
    model.heard = heard

    async def speak(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke("x")]}

    async for event in run_events(graph_of(speak), ASKED, {}):
        heard.extend([event.text] if isinstance(event, MessageText) else [])
    assert len(heard) < 100_000


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_a_run_that_is_left_leaves_nothing(how: str) -> None:
    """When its reader goes, the graph is cancelled, has ended, and no task of it is left."""
    before, waits, ends = asyncio.all_tasks(), asyncio.Event(), []

    async def hang(state: MessagesState) -> Any:
        try:
            await speaker("Soon.").ainvoke("x")
            waits.set()
            await asyncio.Event().wait()
        finally:
            ends.append("hang")

    async def read() -> None:
        async with aclosing(run_events(graph_of(hang), ASKED, {})) as told:  # type: ignore[type-var]
            async for event in told:
                if how == "closed" and isinstance(event, MessageText):
                    return

    reader = asyncio.create_task(read())
    if how == "cancelled":
        await waits.wait()
        reader.cancel()
    await asyncio.wait({reader})
    assert reader.cancelled() == (how == "cancelled")
    assert ends == ["hang"]
    assert asyncio.all_tasks() == before


async def test_tools_that_block_side_by_side() -> None:
    """Each has events from a thread of its own, and they are told apart."""

    @tool
    def blocking(n: int) -> str:
        """Block."""
        return str(speaker(f"Number {n}.").invoke("x").text)

    calls = [(f"c{n}", "blocking", {"n": n}) for n in range(8)]
    model = ScriptedModel(reply=in_turn(said("All.", *calls), said("Done.")))
    told = await tell(create_deep_agent(model=model, tools=[blocking]), "go")
    assert [told.call(id_)["result"] for id_, _, _ in calls] == [f"Number {n}." for n in range(8)]
    assert [told.texts(id_) for id_, _, _ in calls] == [[f"Number {n}."] for n in range(8)]
