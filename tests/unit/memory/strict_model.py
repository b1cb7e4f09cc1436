"""A model that refuses a history as Anthropic and OpenAI do, and does what the last message of the user says."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class RefusedHistoryError(Exception):
    """What a provider answers with 400."""


def refuse_bad_history(messages: Sequence[BaseMessage]) -> None:
    """Each call is answered by exactly one result right after it, nothing else is; ids are unique; a user begins."""
    talk = [m for m in messages if not isinstance(m, SystemMessage)]
    if not talk or not isinstance(talk[0], HumanMessage):
        raise RefusedHistoryError("400 the first message is not the user's")
    if len(ids := [m.id for m in talk if m.id]) != len(set(ids)):
        raise RefusedHistoryError(f"400 a message twice: {ids}")
    waiting: list[str] = []
    called: set[str] = set()
    before: BaseMessage | None = None
    for message in talk:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in waiting:
                raise RefusedHistoryError(f"400 a tool_result without its tool_use: {message.tool_call_id}")
            waiting.remove(message.tool_call_id)
            before = message
            continue
        if waiting:
            raise RefusedHistoryError(f"400 tool_use ids without tool_result: {waiting}")
        if isinstance(message, AIMessage):
            if isinstance(before, AIMessage):
                raise RefusedHistoryError("400 two turns of the assistant in a row")
            waiting = [str(call["id"]) for call in (*message.tool_calls, *message.invalid_tool_calls)]
            if len(set(waiting)) != len(waiting) or called & set(waiting):
                raise RefusedHistoryError(f"400 a tool_use id twice: {waiting}")
            called.update(waiting)
        before = message
    if waiting or isinstance(talk[-1], AIMessage):
        raise RefusedHistoryError("400 it is not the assistant's turn")


class StrictModel(BaseChatModel):
    """`work END`: call `quick` and `slow` at once. `break`: fail. Anything else: tell the results in the history."""

    @property
    def _llm_type(self) -> str:
        return "strict"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        refuse_bad_history(messages)
        last = messages[-1]
        if isinstance(last, HumanMessage) and str(last.content).startswith("break"):
            raise ConnectionAbortedError("the model broke")
        if isinstance(last, HumanMessage) and str(last.content).startswith("work "):
            how, mark = str(last.content).split()[1:3]
            calls = [
                {"name": "quick", "args": {"mark": mark}, "id": uuid4().hex},
                {"name": "slow", "args": {"how": how, "mark": mark}, "id": uuid4().hex},
            ]
            answer = AIMessage(content="", tool_calls=calls)
        else:
            answer = AIMessage(content="; ".join(str(m.content) for m in messages if isinstance(m, ToolMessage)))
        return ChatResult(generations=[ChatGeneration(message=answer)])
