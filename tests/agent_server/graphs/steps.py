"""Graphs that need no provider: numbers, slow steps, a question, a failure, words, a graph in a graph."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    n: int
    left: int
    seconds: float
    tag: str
    kind: str
    answer: Any
    ran: Annotated[list[str], operator.add]


async def add(state: State) -> State:
    get_stream_writer()({"adding": 1})
    return {"n": state["n"] + 1, "ran": ["add"]}


async def double(state: State) -> State:
    return {"n": state["n"] * 2, "ran": ["double"]}


async def step(state: State) -> State:
    await asyncio.sleep(state["seconds"])
    return {"left": state["left"] - 1, "ran": [f"{state.get('tag', '')}{len(state.get('ran') or [])}"]}


async def question(state: State) -> State:
    return {"answer": interrupt({"question": "go on?", "n": state.get("n")}), "ran": ["question"]}


class Secretive(Exception):
    """Its text is not for clients."""


async def fail(state: State) -> State:
    if state["kind"] == "value":
        raise ValueError(f"no {state['kind']}")
    raise Secretive("the text of it")


async def say(state: MessagesState) -> MessagesState:
    model = GenericFakeChatModel(messages=iter([AIMessage("one two three")]))
    return {"messages": [await model.ainvoke(state["messages"])]}


def chain(*nodes: Any) -> StateGraph[Any]:
    plan = StateGraph(State)
    names = [node.__name__ for node in nodes]
    for node in nodes:
        plan.add_node(node.__name__, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        plan.add_edge(before, after)
    return plan


count = chain(add, double).compile()
ask = chain(add, question).compile()
fails = chain(add, fail).compile()
steps = (
    StateGraph(State)
    .add_node("step", step)
    .add_edge(START, "step")
    .add_conditional_edges("step", lambda state: "step" if state["left"] > 0 else END, ["step", END])
    .compile()
)
talk = StateGraph(MessagesState).add_node("say", say).add_edge(START, "say").add_edge("say", END).compile()
outer = StateGraph(State).add_node("inner", count).add_edge(START, "inner").add_edge("inner", END).compile()
