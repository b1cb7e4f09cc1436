"""A tool call in which the model ran out of tokens is not run."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool

from agent_runner.clients.engine.middleware import RunGuard
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.log import LogRow, fold, render


class OutOfTokens(BaseChatModel):
    """Two calls, the second one cut, with the provider's word for it; then an end."""

    key: str
    word: str

    @property
    def _llm_type(self) -> str:
        return "out-of-tokens"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        if any(isinstance(m, ToolMessage) for m in messages):
            yield ChatGenerationChunk(message=AIMessageChunk(content="I stop here.", id="m2", chunk_position="last"))
            return
        calls = [
            tool_call_chunk(name="remove", args='{"path": "/work/a"}', id="whole", index=0),
            tool_call_chunk(name="remove", args='{"path": "/work', id="cut", index=1),
        ]
        yield ChatGenerationChunk(message=AIMessageChunk(content="", id="m1", tool_call_chunks=calls))
        end = AIMessageChunk(content="", id="m1", response_metadata={self.key: self.word}, chunk_position="last")
        yield ChatGenerationChunk(message=end)


@pytest.mark.parametrize(("key", "word"), [("finish_reason", "length"), ("stop_reason", "max_tokens")])
async def test_no_call_of_a_message_that_was_cut_runs(key: str, word: str) -> None:
    """The message ended with a reason that ends no calls: each fails with it, and the agent goes on."""
    removed: list[str] = []

    @tool
    def remove(path: str) -> str:
        """Remove a path."""
        removed.append(path)
        return "removed"

    graph = create_agent(OutOfTokens(key=key, word=word), [remove], middleware=[RunGuard()])
    builder = StatusBuilder()
    deltas = []
    async for event in run_events(graph, {"messages": [("user", "clean up")]}, {}):
        deltas += builder.feed(event)
    deltas += builder.finish()
    rows = [LogRow(seq=n, at=0.0, fence=1, kind=d.kind, payload=dict(d.payload)) for n, d in enumerate(deltas, 1)]
    calls = {c["id"]: c for c in render(fold(rows))["tool_calls"]}
    assert removed == []
    for id_ in ("whole", "cut"):
        assert calls[id_]["status"] == "TOOL_CALL_FAILED"
        assert "ran out of tokens" in calls[id_]["error"]
