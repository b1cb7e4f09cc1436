"""An agent that calls 300 tools, ten at a time, each with a result of 2 KB. Its model is a function of the history."""

from collections.abc import Iterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool

CALLS, AT_ONCE = 300, 10


@tool
def look(number: int) -> str:
    """Look at a page."""
    return f"page {number} " + "0123456789abcdef" * 128


class Reader(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "reader"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        done = sum(isinstance(m, ToolMessage) for m in messages)
        name = f"m{done}"
        for word in ("I ", "look ", "at ", "pages. "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word, id=name))
        calls = [
            tool_call_chunk(name="look", args=f'{{"number": {n}}}', id=f"call_{n}", index=n - done)
            for n in range(done, min(done + AT_ONCE, CALLS))
        ]
        last = AIMessageChunk(content="", id=name, tool_call_chunks=calls, chunk_position="last")
        yield ChatGenerationChunk(message=last)


graph = create_agent(Reader(), [look])
