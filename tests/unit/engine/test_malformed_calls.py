"""A model whose tool calls have arguments that are no JSON is told so and asked again, but not for ever."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool

from agent_runner.clients.engine.middleware import REFUSED_MOST, RunGuard
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.models.errors import explain_model_error
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.log import LogRow, fold, render


class Malformed(BaseChatModel):
    """So many malformed calls, then an answer."""

    times: int

    @property
    def _llm_type(self) -> str:
        return "malformed"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        told = sum(isinstance(m, ToolMessage) and "no JSON" in str(m.content) for m in messages)
        if told < self.times:
            call = tool_call_chunk(name="look", args='{"at": "the "moon""}', id=f"c{told}", index=0)
            message = AIMessageChunk(content="", id=f"m{told}", tool_call_chunks=[call], chunk_position="last")
        else:
            message = AIMessageChunk(content="I saw it.", id="last", chunk_position="last")
        yield ChatGenerationChunk(message=message)


@tool
def look(at: str) -> str:
    """Look at something."""
    raise AssertionError("nothing could be looked at")


@pytest.mark.usefixtures("both_sources")
@pytest.mark.parametrize("times", [1, REFUSED_MOST])
async def test_the_agent_goes_on(times: int) -> None:
    """Each malformed call is shown as failed, and the answer comes after them."""
    graph = create_agent(Malformed(times=times), [look], middleware=[RunGuard()])
    status = await _status(graph)
    assert [c["status"] for c in status["tool_calls"]] == ["TOOL_CALL_FAILED"] * times
    assert all(c["error"] for c in status["tool_calls"])
    assert [m["content"] for m in status["messages"] if m.get("content")] == ["I saw it."]


async def test_a_model_that_never_gets_it_right_ends_the_run() -> None:
    """The error names the cause and what to do."""
    graph = create_agent(Malformed(times=REFUSED_MOST + 1), [look], middleware=[RunGuard()])
    with pytest.raises(Exception) as caught:
        await _status(graph)
    explained = explain_model_error(caught.value)
    assert explained is not None
    assert f"{REFUSED_MOST + 1} times in a row" in explained[0]


async def _status(graph: Any) -> dict[str, Any]:
    builder = StatusBuilder()
    deltas = []
    async for event in run_events(graph, {"messages": [("user", "look at the moon")]}, {}):
        deltas += builder.feed(event)
    deltas += builder.finish()
    rows = [LogRow(seq=n, at=0.0, fence=1, kind=d.kind, payload=dict(d.payload)) for n, d in enumerate(deltas, 1)]
    return render(fold(rows))
