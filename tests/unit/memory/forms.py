"""The graphs of the matrix: forms x kinds of state, each named FORM__STATE. Loaded as a user's file is."""

import asyncio
import operator
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, TypedDict

from deepagents import create_deep_agent
from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AnyMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt
from pydantic import BaseModel, Field

from tests.unit.memory.strict_model import StrictModel

SENT: Counter[str] = Counter()
"""How often `quick` did its work, by mark."""
REACHED: set[str] = set()
"""Marks of slow calls that are open."""
MENDED: set[str] = set()
"""Marks of slow calls that do their work from now on, whatever they were told."""


@tool
async def quick(mark: str) -> str:
    """Send a mail."""
    SENT[mark] += 1
    return f"mail {mark} was sent"


@tool
async def slow(how: str, mark: str) -> str:
    """Make a report."""
    if mark in MENDED:
        return f"report {mark}"
    if how == "ask":
        return f"report {mark}: {interrupt('May I?')}"
    while not SENT[mark]:
        await asyncio.sleep(0)
    for _ in range(20):  # the other call's result is on its way into memory
        await asyncio.sleep(0.001)
    REACHED.add(mark)
    if how == "raise":
        raise ValueError("no paper")
    if how == "hang":
        await asyncio.Event().wait()
    return f"report {mark}"


class Stage(Enum):
    DRAFT = "draft"


class Customer(BaseModel):
    name: str
    stage: Stage


@dataclass
class Item:
    title: str


class Plain(MessagesState):
    pass


@dataclass
class Typed:
    messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)
    item: Item | None = None


class Checked(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages] = Field(default_factory=list)
    customer: Customer | None = None


class Reduced(MessagesState, total=False):
    log: Annotated[list[str], operator.add]
    items: Annotated[list[Item], operator.add]


class Large(MessagesState, total=False):
    corpus: str


class WithItem(AgentState[Any], total=False):
    item: Item


class WithCustomer(AgentState[Any], total=False):
    customer: Customer


class WithLog(AgentState[Any], total=False):
    log: Annotated[list[str], operator.add]
    items: Annotated[list[Item], operator.add]


class WithCorpus(AgentState[Any], total=False):
    corpus: str


VALUES: dict[str, dict[str, Any]] = {
    "messages": {},
    "dataclass": {"item": Item("tea")},
    "pydantic": {"customer": Customer(name="Ann", stage=Stage.DRAFT)},
    "reducers": {"log": ["filled"], "items": [Item("tea")]},
    "large": {"corpus": "x" * 200_000},
}
SCHEMAS: dict[str, Any] = {
    "messages": Plain, "dataclass": Typed, "pydantic": Checked, "reducers": Reduced, "large": Large,
}  # fmt: skip
AGENT_SCHEMAS: dict[str, Any] = {
    "messages": AgentState, "dataclass": WithItem, "pydantic": WithCustomer, "reducers": WithLog, "large": WithCorpus,
}  # fmt: skip


def field_of(state: Any, name: str) -> Any:
    return state.get(name) if isinstance(state, dict) else getattr(state, name)


def fill(kind: str, state: Any) -> dict[str, Any]:
    """What the state is given in its first turn; in later turns it must be there, and be what it was."""
    for name, value in VALUES[kind].items():
        found = field_of(state, name)
        if not found:
            return VALUES[kind]
        same = found[: len(value)] == value if isinstance(value, list) else found == value
        if not same or type(found) is not type(value):
            raise TypeError(f"{name} came back as {found!r:.200}")
    return {}


def plan(kind: str) -> StateGraph[Any]:
    made = StateGraph(SCHEMAS[kind])
    model = StrictModel()

    async def ask(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(field_of(state, "messages"))]}

    made.add_node("fill", lambda state: fill(kind, state))
    made.add_node("model", ask)
    made.add_node("tools", ToolNode([quick, slow], handle_tool_errors=False))
    made.add_edge(START, "fill")
    made.add_edge("fill", "model")
    made.add_conditional_edges("model", tools_condition)
    made.add_edge("tools", "model")
    return made


class Filling(AgentMiddleware[Any, Any, Any]):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.state_schema = kind, AGENT_SCHEMAS[kind]

    async def abefore_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        return fill(self.kind, state) or None


def agent(kind: str) -> Any:
    return create_agent(StrictModel(), [quick, slow], middleware=[Filling(kind)])


def deep(kind: str) -> Any:
    return create_deep_agent(StrictModel(), [quick, slow], middleware=[Filling(kind)])


def nested(kind: str) -> Any:
    outer = StateGraph(MessagesState)
    outer.add_node("inner", agent(kind))
    outer.add_edge(START, "inner")
    outer.add_edge("inner", END)
    return outer.compile()


def sync_factory(kind: str) -> Any:
    return lambda: plan(kind).compile()


def async_factory(kind: str) -> Any:
    async def make(config: Any) -> Any:
        return plan(kind)

    return make


class Parallel(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


FORMS: dict[str, Any] = {
    "state_graph": plan,
    "compiled": lambda kind: plan(kind).compile(),
    "with_config": lambda kind: plan(kind).compile().with_config(tags=["a"]),
    "factory": sync_factory,
    "async_factory": async_factory,
    "create_agent": agent,
    "deep_agent": deep,
    "nested": nested,
    "own_saver": lambda kind: plan(kind).compile(checkpointer=InMemorySaver()),
}
NAMES = [f"{form}__{kind}" for form in FORMS for kind in VALUES]
for _name in NAMES:
    _form, _, _kind = _name.partition("__")
    globals()[_name] = FORMS[_form](_kind)
