"""An agent that calls tools and then answers. Its model is a function of the history.

The message is JSON: `{"calls": 300, "at_once": 10, "result_bytes": 2048, "tokens": 20}`.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool


@tool
async def look(number: int, result_bytes: int) -> str:
    """Look at a page."""
    return f"page {number} ".ljust(result_bytes, "x")


class Reader(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "reader"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = json.loads(str(messages[0].text))
        done = sum(isinstance(message, ToolMessage) for message in messages)
        name, left = f"m{done}", asked["calls"] - done
        for word in ("I ", "look ", "at ", "pages. ") if left else ("word ",) * asked["tokens"]:
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word, id=name))
        calls = [
            tool_call_chunk(
                name="look",
                args=json.dumps({"number": done + n, "result_bytes": asked["result_bytes"]}),
                id=f"call_{done + n}",
                index=n,
            )
            for n in range(min(left, asked["at_once"]))
        ]
        last = AIMessageChunk(content="", id=name, tool_call_chunks=calls, chunk_position="last")
        yield ChatGenerationChunk(message=last)


graph = create_agent(Reader(), [look])
