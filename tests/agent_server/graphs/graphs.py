"""Graphs without a model, whose every value is known beforehand."""

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt


class Sum(TypedDict):
    value: int
    log: Annotated[list[str], operator.add]


class Wanted(TypedDict, total=False):
    unit: str


def add_one(state: Sum) -> dict[str, Any]:
    return {"value": state["value"] + 1, "log": ["add_one"]}


def double(state: Sum) -> dict[str, Any]:
    return {"value": state["value"] * 2, "log": ["double"]}


_b: Any = StateGraph(Sum, context_schema=Wanted)
_b.add_node("add_one", add_one)
_b.add_node("double", double)
_b.add_edge(START, "add_one")
_b.add_edge("add_one", "double")
_b.add_edge("double", END)
adder = _b.compile()


class Asked(TypedDict, total=False):
    item: str
    answer: Any


def ask(state: Asked) -> dict[str, Any]:
    return {"answer": interrupt({"about": state["item"]})}


_b = StateGraph(Asked)
_b.add_node("ask", ask)
_b.add_edge(START, "ask")
_b.add_edge("ask", END)
asker = _b.compile()


class Nested(TypedDict):
    n: int


def thrice(state: Nested) -> dict[str, Any]:
    return {"n": state["n"] * interrupt({"n": state["n"]})}


_i: Any = StateGraph(Nested)
_i.add_node("thrice", thrice)
_i.add_edge(START, "thrice")
_b = StateGraph(Nested)
_b.add_node("inner", _i.compile())
_b.add_edge(START, "inner")
nested = _b.compile()


class Failing(TypedDict, total=False):
    seen: list[str]


def fail(state: Failing) -> dict[str, Any]:
    raise ValueError("no good")


_b = StateGraph(Failing)
_b.add_node("fail", fail)
_b.add_edge(START, "fail")
failing = _b.compile()


class Note(TypedDict, total=False):
    text: str
    before: str


async def note(state: Note, runtime: Runtime) -> dict[str, Any]:
    store = runtime.store
    assert store is not None
    found = await store.aget(("notes",), "last")
    await store.aput(("notes",), "last", {"text": state["text"]})
    return {"before": found.value["text"] if found else ""}


_b = StateGraph(Note)
_b.add_node("note", note)
_b.add_edge(START, "note")
noting = _b.compile()


class Both(TypedDict):
    answers: Annotated[list[str], operator.add]


def left(state: Both) -> dict[str, Any]:
    return {"answers": [f"left {interrupt('left')}"]}


def right(state: Both) -> dict[str, Any]:
    return {"answers": [f"right {interrupt('right')}"]}


_b = StateGraph(Both)
for _side in (left, right):
    _b.add_node(_side.__name__, _side)
    _b.add_edge(START, _side.__name__)
both = _b.compile()


class Told(TypedDict, total=False):
    unit: str
    size: int


class Shown(TypedDict, total=False):
    asked: str
    context: dict[str, Any]


def show(state: Shown, runtime: Runtime[Told]) -> dict[str, Any]:
    return {"context": dict(runtime.context or {})}


_b = StateGraph(Shown, context_schema=Told)
_b.add_node("show", show)
_b.add_edge(START, "show")
showing = _b.compile()
