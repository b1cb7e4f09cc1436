"""Graphs that show a front end one thing each: steps, state, questions, failures, reasoning, own events, edits."""

import asyncio
import itertools
import operator
import uuid
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt


class Sum(TypedDict, total=False):
    n: int
    seconds: float
    answer: Any
    ran: Annotated[list[str], operator.add]


async def add(state: Sum) -> Sum:
    return {"n": state.get("n", 0) + 1, "ran": ["add"]}


async def double(state: Sum) -> Sum:
    return {"n": state.get("n", 0) * 2, "ran": ["double"]}


async def wait(state: Sum) -> Sum:
    await asyncio.sleep(state.get("seconds", 30.0))
    return {"ran": ["wait"]}


async def question(state: Sum) -> Sum:
    return {"answer": interrupt({"question": "which one?", "options": ["left", "right"]}), "ran": ["question"]}


async def both(state: Sum) -> Sum:
    return {"answer": [interrupt("the first?"), interrupt("the second?")]}


async def fail(state: Sum) -> Sum:
    raise ValueError("the sum is not right")


async def report(state: Sum) -> Sum:
    write = get_stream_writer()
    for n in range(3):
        write({"type": "progress", "done": n + 1, "of": 3})
    return {"ran": ["report"]}


async def one(state: Sum) -> Sum:
    return {"ran": ["one"]}


def chain(*nodes: Any) -> Any:
    plan = StateGraph(Sum)
    names = [node.__name__ for node in nodes]
    for node in nodes:
        plan.add_node(node.__name__, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        plan.add_edge(before, after)
    return plan.compile()


add_up, ask, twice = chain(add, double), chain(add, question), chain(both)
fails, progress, slow = chain(add, fail), chain(report), chain(wait)
fan = (
    StateGraph(Sum)
    .add_node("one", one)
    .add_conditional_edges(START, lambda state: [Send("one", state) for _ in range(3)], ["one"])
    .add_edge("one", END)
    .compile()
)


class Whole(BaseChatModel):
    """Answers at once and in one piece, as the function says."""

    answer: Callable[[list[BaseMessage]], AIMessage]
    _llm_type = "whole"

    def bind_tools(self, tools: Any, **given: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *given: Any, **more: Any) -> ChatResult:
        said = self.answer(messages)
        said.response_metadata = {"finish_reason": "stop", "model_name": "whole"}
        said.usage_metadata = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        return ChatResult(generations=[ChatGeneration(message=said)])


def says(model: Any) -> Any:
    async def say(state: MessagesState) -> MessagesState:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return say


def streamed(text: str) -> Any:
    """A model that streams this text, a word at a time."""
    return GenericFakeChatModel(messages=itertools.repeat(text))


def alone(node: Any) -> Any:
    return StateGraph(MessagesState).add_node("say", node).add_edge(START, "say").add_edge("say", END).compile()


def thought(messages: list[BaseMessage]) -> AIMessage:
    blocks = [{"type": "thinking", "thinking": "two and two", "signature": "s"}, {"type": "text", "text": "4"}]
    return AIMessage(blocks)  # type: ignore[arg-type]


def painting(messages: list[BaseMessage]) -> AIMessage:
    """Calls a tool of the front end, and says what came of it."""
    last = messages[-1]
    if isinstance(last, ToolMessage):
        return AIMessage(f"the page said: {last.content}")
    return AIMessage("", tool_calls=[{"id": f"paint-{uuid.uuid4()}", "name": "paint", "args": {"color": "red"}}])


talk, thinks = alone(says(streamed("one two three"))), alone(says(Whole(answer=thought)))
offers = alone(says(Whole(answer=painting)))


async def edit(state: MessagesState) -> Any:
    said = state["messages"][-1]
    return {"messages": [RemoveMessage(id=str(said.id)), AIMessage("something better", id="better")]}


edits = (
    StateGraph(MessagesState)
    .add_node("say", says(streamed("something rude")))
    .add_node("edit", edit)
    .add_edge(START, "say")
    .add_edge("say", "edit")
    .add_edge("edit", END)
    .compile()
)


@tool
def send_mail(to: str) -> str:
    """Send a mail."""
    return f"sent to {to}"


def mailing(messages: list[BaseMessage]) -> AIMessage:
    last = messages[-1]
    if isinstance(last, ToolMessage):
        return AIMessage(f"done: {last.content}")
    return AIMessage("", tool_calls=[{"id": f"mail-{uuid.uuid4()}", "name": "send_mail", "args": {"to": "bob"}}])


approve = create_agent(
    Whole(answer=mailing),
    tools=[send_mail],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"send_mail": True})],
)


async def broken(state: MessagesState) -> MessagesState:
    raise ValueError("the answer is not right")


async def asking(state: MessagesState) -> Any:
    return {"messages": [AIMessage(f"you said {interrupt('which one?')}")]}


class Slow(GenericFakeChatModel):
    """A word every fifth of a second."""

    async def _astream(self, *given: Any, **more: Any) -> Any:
        async for chunk in super()._astream(*given, **more):
            yield chunk
            await asyncio.sleep(0.2)


breaks, asks_back = alone(broken), alone(asking)
slow_talk = alone(says(Slow(messages=itertools.repeat("one two three four five six seven eight"))))
