"""Graphs that give too much: `tokens` streams as many tokens, `result` has a tool that returns as many bytes, as the
message says."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode


class Talker(BaseChatModel):
    """Streams `. ` as often as the last message says, and waits for nothing."""

    @property
    def _llm_type(self) -> str:
        return "talker"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        name, count = f"talk-{uuid.uuid4().hex}", int(str(messages[-1].text))
        for n in range(count):
            last: Any = {"chunk_position": "last"} if n == count - 1 else {}
            yield ChatGenerationChunk(message=AIMessageChunk(content=". ", id=name, **last))


async def talk(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Talker().ainvoke(state["messages"])]}


_talking = StateGraph(MessagesState)
_talking.add_node("talk", talk)
_talking.add_edge(START, "talk")
_talking.add_edge("talk", END)
tokens = _talking


@tool
def huge(size: int) -> str:
    """Return that many bytes."""
    return "x" * size


def ask(state: MessagesState) -> dict[str, Any]:
    args = {"size": int(str(state["messages"][-1].text))}
    call = {"name": "huge", "args": args, "id": f"call_{uuid.uuid4().hex[:12]}", "type": "tool_call"}
    return {"messages": [AIMessage("", id=uuid.uuid4().hex, tool_calls=[call])]}


def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"The result has {len(state['messages'][-1].text)} bytes.", id=uuid.uuid4().hex)]}


_asking = StateGraph(MessagesState)
_asking.add_node("ask", ask)
_asking.add_node("tools", ToolNode([huge]))
_asking.add_node("answer", answer)
_asking.add_edge(START, "ask")
_asking.add_edge("ask", "tools")
_asking.add_edge("tools", "answer")
_asking.add_edge("answer", END)
result = _asking
