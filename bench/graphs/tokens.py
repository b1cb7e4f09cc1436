"""A graph of one node whose model streams what the message asks for, and nothing is waited for but `every_s`.

The message is JSON: `{"tokens": 20, "every_s": 0.05, "stamped": true}`. Tokens are 8 bytes long; stamped ones are the
monotonic clock in nanoseconds at which the model spoke, which all processes of a machine share.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph


class Speaker(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "speaker"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = json.loads(str(messages[-1].text))
        tokens, every_s, stamped = int(asked["tokens"]), float(asked.get("every_s", 0)), asked.get("stamped")
        name = uuid.uuid4().hex
        for number in range(tokens):
            await asyncio.sleep(every_s)
            text = f"{time.monotonic_ns()} " if stamped else f"w{number:06} "
            yield ChatGenerationChunk(message=AIMessageChunk(content=text, id=name))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", id=name, chunk_position="last"))


_model = Speaker()


async def speak(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await _model.ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak").compile()
