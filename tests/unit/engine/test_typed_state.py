"""Classes in a graph's state are the same classes in the next turn, and no others are made."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.memory.state.serializer import StateSerializer, StateTypeError
from tests.unit.engine.world import make_world
from tests.unit.models.settings import SomeSettings

TYPED = """
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Generic, NamedTuple, Optional, TypedDict, TypeVar
from langchain_core.messages import AIMessage
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt
from pydantic import BaseModel

T = TypeVar("T")
class Stage(Enum):
    DRAFT = "draft"
class Kind(StrEnum):
    TEA = "tea"
class Customer(BaseModel):
    name: str
    class Address(BaseModel):
        street: str
    address: Optional["Customer.Address"] = None
class Box(BaseModel, Generic[T]):
    content: T
@dataclass
class Item:
    title: str
    price: Decimal
@dataclass
class Gift(Item):
    ribbon: str = "red"
class Point(NamedTuple):
    x: int
    y: int
class Deep(TypedDict):
    stages: dict[str, list[Stage]]
@dataclass
class Job:
    n: int
class Order(MessagesState, total=False):
    customer: Customer
    items: Annotated[Sequence[Item], operator.add]
    stage: Stage | None
    kind: Kind
    deep: Deep
    box: Box[int]
    points: tuple[Point, ...]
    by_name: Mapping[str, Item]
    jobs: Annotated[list, operator.add]
class Private(TypedDict):
    hidden: Job

def fill(state: Order):
    return {"customer": Customer(name="Ann", address=Customer.Address(street="x")),
            "items": [Item("tea", Decimal(3)), Gift("cup", Decimal(5), "blue")], "stage": Stage.DRAFT, "kind": Kind.TEA,
            "deep": {"stages": {"a": [Stage.DRAFT]}}, "box": Box[int](content=1), "points": (Point(1, 2),),
            "by_name": {"tea": Item("tea", Decimal(3))}}
def hide(state: Order) -> Private:
    return {"hidden": Job(7)}
def fan(state: Order):
    return [Send("confirm", Job(1))]
def confirm(job: Job):
    answer = interrupt("Buy it?")
    return {"jobs": [Job(job.n + 1)], "messages": [AIMessage(content=f"{type(job).__name__} {answer}")]}
def tell(state: Order):
    names = [type(state[n]).__name__ for n in ("customer", "stage", "kind", "box")]
    held = (*state["items"], *state["points"], state["by_name"]["tea"], state["jobs"][0])
    names += [type(one).__name__ for one in held]
    names += [type(state["deep"]["stages"]["a"][0]).__name__, type(state["customer"].address).__name__]
    return {"messages": [AIMessage(content=" ".join(names))]}

plan = StateGraph(Order)
for one in (fill, hide, tell):
    plan.add_node(one.__name__, one)
plan.add_node("confirm", confirm, input_schema=Job)
plan.add_edge(START, "fill"); plan.add_edge("fill", "hide"); plan.add_conditional_edges("hide", fan, ["confirm"])
plan.add_edge("confirm", "tell"); plan.add_edge("tell", END)
compiled = plan.compile()
configured = plan.compile().with_config(tags=["x"])
def factory():
    return plan.compile()
async def factory_async(config):
    return plan
outer_plan = StateGraph(MessagesState)
outer_plan.add_node("inner", plan.compile()); outer_plan.add_edge(START, "inner")
outer = outer_plan.compile()
called_plan = StateGraph(MessagesState)
inside = plan.compile()
async def call(state: MessagesState):
    return {"messages": (await inside.ainvoke({"messages": state["messages"]}))["messages"][-2:]}
called_plan.add_node("call", call); called_plan.add_edge(START, "call")
called = called_plan.compile()
def local():
    @dataclass
    class Own:
        n: int
    class State(MessagesState, total=False):
        own: Own
    def ask(state: State):
        return {"own": Own(3)}
    def answer(state: State):
        said = interrupt("?")
        return {"messages": [AIMessage(content=f"{type(state['own']).__name__} {said}")]}
    made = StateGraph(State)
    made.add_node("ask", ask); made.add_node("answer", answer)
    made.add_edge(START, "ask"); made.add_edge("ask", "answer")
    return made
class Loose(MessagesState, total=False):
    anything: Any
def loosen(state: Loose):
    return {"anything": Item("tea", Decimal(3))}
def ask(state: Loose):
    return {"messages": [AIMessage(content=f"{type(state['anything']).__name__} {interrupt('?')}")]}
loose = StateGraph(Loose)
loose.add_node("loosen", loosen); loose.add_node("ask", ask)
loose.add_edge(START, "loosen"); loose.add_edge("loosen", "ask")
@task
def load(n: int) -> Item:
    return Item("tea", Decimal(n))
@entrypoint()
def functional(given: Any, *, previous: Optional[Job] = None) -> entrypoint.final[dict, Job]:
    item = load(3).result()
    said = interrupt(Customer(name="undeclared here"))
    return entrypoint.final(value={"text": f"{type(item).__name__} {type(previous).__name__} {said}"}, save=Job(1))
class Plain:
    pass
plain = StateGraph(Loose)
plain.add_node("n", lambda state: {"anything": Plain()}); plain.add_edge(START, "n")
"""
NAMES = "Customer Stage Kind Box[int] Item Gift Point Item Job Stage Address"
FORMS = ["plan", "compiled", "configured", "factory", "factory_async", "outer", "called"]


def project(folder: Path, **more: Any) -> SomeSettings:
    (folder / "typed.py").write_text(TYPED)
    names = [*FORMS, "local", "loose", "plain", "functional"]
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {n: f"./typed.py:{n}" for n in names}, **more}))
    return SomeSettings(graphs=folder / "langgraph.json")


@pytest.mark.parametrize("form", FORMS)
async def test_classes_survive_a_turn_in_every_form(tmp_path: Path, form: str) -> None:
    """Every declared class, nested, generic, private or sent, is itself again in the next turn."""
    async with make_world(tmp_path, project(tmp_path)) as world:
        first = await world.turn("tea, please", world.run(), Bundle(graph=form))
        assert first.waits
        second = await world.turn("yes", world.run(head=first.head), Bundle(graph=form))
        assert [m.text for m in second.messages[-2:]] == ["Job yes", NAMES]


async def test_a_class_of_a_factory_survives(tmp_path: Path) -> None:
    """A class that exists only inside of a function is made again from what the schema of the run's graph says."""
    async with make_world(tmp_path, project(tmp_path)) as world:
        first = await world.turn("go", world.run(), Bundle(graph="local"))
        second = await world.turn("yes", world.run(head=first.head), Bundle(graph="local"))
        assert second.answer == "Own yes"


async def test_what_tasks_and_entrypoints_declare_is_kept(tmp_path: Path) -> None:
    """The functional API declares its classes in signatures: what a task returned, what the last run saved."""
    async with make_world(tmp_path, project(tmp_path)) as world:
        head = ""
        for before in ("NoneType", "Job"):
            first = await world.turn("go", world.run(head=head), Bundle(graph="functional"))
            assert first.waits
            second = await world.turn("yes", world.run(head=first.head), Bundle(graph="functional"))
            assert second.values["text"] == f"Item {before} yes"
            head = second.head


async def test_an_undeclared_class_is_named(tmp_path: Path) -> None:
    """A class that no schema declares ends the turn with its name; once it is allowed, the session goes on."""
    async with make_world(tmp_path, project(tmp_path)) as world:
        run = world.run()
        with pytest.raises(StateTypeError, match=r"holds a Item of typed.*allowed_msgpack_modules"):
            await world.turn("go", run, Bundle(graph="loose"))  # its end is read back
    allowed = {"serde": {"allowed_msgpack_modules": [["typed", "Item"]]}}
    async with make_world(tmp_path, project(tmp_path, checkpointer=allowed)) as world:
        second = await world.turn("yes", world.run(head=run.head_checkpoint_id), Bundle(graph="loose"))
        assert second.answer == "Item yes"


async def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    """An object that no checkpoint can hold ends the run with the name of its class."""
    async with make_world(tmp_path, project(tmp_path)) as world:
        with pytest.raises(StateTypeError, match=r"Plain.*dataclass"):
            await world.turn("go", world.run(), Bundle(graph="plain"))


async def test_another_process_finds_the_classes(tmp_path: Path) -> None:
    """What one worker saved another one makes again, whatever its seed of hashes is."""
    script = (
        "import asyncio, sys; from pathlib import Path; import tests.unit.engine.test_typed_state as t\n"
        "print(asyncio.run(t.one_turn(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))"
    )
    head = ""
    for message, seed in (("tea", "1"), ("yes", "2")):
        ran = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), message, head],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        said, head = ran.stdout.splitlines()[-1].split("|")
    assert said == NAMES


async def one_turn(folder: Path, message: str, head: str) -> str:
    async with make_world(folder, project(folder)) as world:
        ended = await world.turn(message, world.run(head=head), Bundle(graph="plan"))
        return f"{ended.messages[-1].text}|{ended.head}"


def test_nothing_unsafe_is_made() -> None:
    """A checkpoint cannot name a class or a function that the schema does not."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer, _msgpack_enc
    from ormsgpack import Ext

    for code, call in ((0, ("os", "system", "true")), (1, ("os", "getenv", ("HOME",))), (2, ("typed", "Item", {}))):
        saved = _msgpack_enc([Ext(code, _msgpack_enc(call))])
        with pytest.raises(StateTypeError, match=call[1]):
            StateSerializer().loads_typed(("msgpack", saved))
    assert JsonPlusSerializer().loads_typed(("msgpack", saved)) is not None
