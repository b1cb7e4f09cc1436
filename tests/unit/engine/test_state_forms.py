"""A value of the state that is written and read again is the same value, with all that it had."""

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    field_serializer,
)

from agent_runner.clients.engine.memory.state.serializer import StateSerializer, StateTypeError
from agent_runner.clients.engine.memory.state.state_forms import StateWriter
from agent_runner.clients.engine.memory.state.state_types import type_key


class Inner(BaseModel):
    n: int = 0


class More(Inner):
    extra: str = ""


class Address(BaseModel):
    url: HttpUrl


class Renamed(BaseModel):
    inner: Inner = Field(alias="theInner")


class Holder(BaseModel):
    items: list[Inner] = []
    anything: Any = None


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner = Inner()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return self.inner.n * 2


class Told(BaseModel):
    when: date
    inner: Inner = Inner()

    @field_serializer("when")
    def short(self, when: date) -> str:
        return when.strftime("%d.%m.")


class Counted(BaseModel):
    _seen: int = PrivateAttr(default=0)


class Numbers(RootModel[list[int]]):
    pass


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    secret: SecretStr = SecretStr("s")


class Opaque:
    """No checkpoint can hold it."""


class Dumped(BaseModel):
    """A field that has no form, but is dumped as one that has."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    held: Any

    @field_serializer("held")
    def text(self, held: Any) -> str:
        return "opaque" if isinstance(held, Opaque) else held


@dataclass
class Sum:
    parts: list[int]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(self.parts)


@dataclass
class Around:
    inner: Any


@dataclass
class Unknown:
    n: int


class Size(Enum):
    SMALL = (1, 2)


class Pair(NamedTuple):
    first: Any


class Basket(list[Any]):
    """A list that can do more."""

    def first(self) -> Any:
        return self[0]


class Named(dict[str, Any]):
    """Its constructor takes something else, so it cannot be made again of a dict."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)


class Word(str):
    pass


class Hidden(Enum):
    """No schema declares it."""

    ONE = 1


class Unlisted(list[Any]):
    """No schema declares it."""


KNOWN = (
    Basket,
    Named,
    Word,
    Inner,
    More,
    Address,
    Renamed,
    Holder,
    Strict,
    Told,
    Counted,
    Numbers,
    Open,
    Dumped,
    Sum,
    Around,
    Size,
    Pair,
)
SERIALIZER = StateSerializer({type_key(c.__module__, c.__name__): c for c in (*KNOWN, SecretStr)})


def again(value: Any) -> Any:
    return SERIALIZER.loads_typed(SERIALIZER.dumps_typed(value))


def counted() -> Counted:
    made = Counted()
    made._seen = 5
    return made


@pytest.mark.parametrize(
    "value",
    [
        Address(url=HttpUrl("http://a.example/")),
        HttpUrl("http://a.example/"),
        Renamed(theInner=Inner(n=1)),
        Holder(items=[More(n=1, extra="kept")], anything={"a": [More(extra="here too")]}),
        Holder(anything=AIMessage("hi", tool_calls=[{"name": "f", "args": {}, "id": "1"}])),
        Strict(inner=Inner(n=3)),
        Told(when=date(2026, 1, 2), inner=Inner(n=1)),
        counted(),
        Numbers([1, 2]),
        Open.model_validate({"more": Inner(n=1)}),
        Inner.model_construct(n="not a number"),
        Sum([1, 2]),
        Around(Holder(items=[More(extra="in a dataclass")])),
        Pair(Address(url=HttpUrl("http://a.example/"))),
        deque([More(extra="in a deque")]),
        {Pair(1), Pair(2)},
        Send("node", Around(More(extra="sent"))),
        Size.SMALL,
        Counter("aab"),
        OrderedDict([("b", 1), ("a", [More(extra="in order")])]),
        defaultdict(list, {"a": [More(extra="by default")]}),
        defaultdict(None, {1: 2}),
        Around([Counter({("a", 1): 2})]),
        Holder(anything=defaultdict(int, {"a": 1})),
        Basket([1, Basket([Word("w")])]),
        {(1, 2), ("a", (Size.SMALL, None))},
        frozenset({(1, frozenset({(2, 3)}))}),
        deque([1, More(extra="the last ones")], maxlen=2),
        Fraction(1, 3),
        [1 + 2j, range(2, 9, 3)],
        2**70,
        -(2**64),
        {"wei": [10**24, 2**64 - 1], 2**70: "a key"},
        {Size.SMALL: 1, "b": {date(2026, 1, 2): [{UUID(int=7): More(extra="by its id")}]}},
        {(Size.SMALL, 1): {Decimal("1.50"): [{frozenset({1}): None}]}, (1, 2): 3, None: 4, 1.5: 5, b"x": 6, True: 7},
        {Pair("a"): {Word("w"): 1}},
        Around({Size.SMALL: [Holder(anything={date(2026, 1, 2): 1})]}),
        Counter({Size.SMALL: 2}),
        defaultdict(list, {date(2026, 1, 2): [1]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_comes_back_whole(value: Any) -> None:
    """Sub-classes, aliases, private values, addresses and fields that no constructor takes are all there again."""
    back = again(value)
    assert type(back) is type(value)
    assert back == value
    if not isinstance(value, set | frozenset):  # equal sets may show their items in another order
        assert repr(back) == repr(value)


def test_a_default_goes_on_making_values() -> None:
    """What was restored is no plain dict: a missing key gets its value."""
    back = again(defaultdict(list, {"a": [1]}))
    back["b"].append(2)
    assert back == {"a": [1], "b": [2]}


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (defaultdict(lambda: 7, {"a": 1}), {"a": 1}),  # no checkpoint can hold a function
        (Named("n"), {"name": "n"}),
        (Unlisted([1]), [1]),
        ({Hidden.ONE: 1, "b": {Hidden.ONE: 2}}, {1: 1, "b": {1: 2}}),
        ({Hidden.ONE: 1, UUID(int=7): 2}, {1: 1, UUID(int=7): 2}),
        ({"deep": [Unlisted([Unlisted()])]}, {"deep": [[[]]]}),
    ],
)
def test_what_is_not_made_again_is_its_plain_value(value: Any, back: Any) -> None:
    """As LangGraph keeps it."""
    assert repr(again(value)) == repr(back)


def test_deep_keys_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is no text, beside what is deeper, at each of 16 levels: the work does not double with each."""
    formed = 0
    form = StateWriter._form_of

    def counted(*given: Any) -> Any:
        nonlocal formed
        formed += 1
        return form(*given)

    monkeypatch.setattr(StateWriter, "_form_of", counted)
    value: Any = Around(None)
    for level in range(16):
        value = Around({"deeper": value, date(2026, 1, 2): level})
    assert again(value) == value
    assert formed < 16 * 16 * 2


def test_a_checkpoint_cannot_name_any_function() -> None:
    """Of what a `defaultdict` makes its values with, only plain types."""
    made = ormsgpack.packb(("collections", "defaultdict", ("eval", {})))
    with pytest.raises(StateTypeError, match="does not take"):
        SERIALIZER.loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(1, made))))


def test_private_values_that_cannot_be_kept_are_made_anew() -> None:
    """A model with a lock or a client in a private value is kept without it."""
    made = counted()
    made._seen = Opaque()  # type: ignore[assignment]
    assert again(made)._seen == 0


def test_a_dump_is_kept_where_a_field_has_no_form() -> None:
    """A model that knows how to dump what no checkpoint can hold is written as its dump."""
    assert again(Dumped(held=Opaque())) == Dumped(held="opaque")


def test_what_nobody_declared_is_data_inside_of_a_model() -> None:
    """Inside a model a class that would not be made again is its fields, as in the model's own dump."""
    assert again(Holder(anything=[Unknown(1)])) == Holder(anything=[{"n": 1}])


def test_a_question_may_be_of_any_class() -> None:
    """What `interrupt()` asks with needs no declaration: it is shown, and never goes back to the graph."""
    asked = again(Interrupt(value=Unknown(3), id="i"))
    assert (asked.value, asked.id) == ({"n": 3}, "i")


def test_models_that_langgraph_wrote_are_read() -> None:
    """Checkpoints from before, with models as their dumps, are read; with aliases too. LangGraph reads ours."""
    theirs = JsonPlusSerializer(allowed_msgpack_modules=True)
    for model in (Holder(items=[Inner(n=1)]), Renamed(theInner=Inner(n=1)), Numbers([1]), Strict()):
        kind, data = theirs.dumps_typed(model)
        if isinstance(model, Strict):  # its dump has more than its class takes: the fields are there, as plain data
            assert SERIALIZER.loads_typed((kind, data)).inner in (Inner(), {"n": 0})
        else:
            assert SERIALIZER.loads_typed((kind, data)) == model
    ours = SERIALIZER.dumps_typed(Holder(items=[More(n=1, extra="x")]))
    assert theirs.loads_typed(ours) == Holder(items=[More(n=1, extra="x")])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Opaque(), "test_state_forms.Opaque"),
        (Around([Opaque()]), "test_state_forms.Opaque"),
        ({Opaque(): 1}, "NON_STR_KEYS"),
    ],
)
def test_what_has_no_form_is_named(value: Any, words: str) -> None:
    """The error names the class that cannot be kept, not the one around it."""
    with pytest.raises(StateTypeError, match=words):
        SERIALIZER.dumps_typed(value)


def test_a_circle_is_an_error() -> None:
    """A state that contains itself, or is nested too deeply, ends with an error of ours that says so."""
    circle: dict[str, Any] = {}
    circle["self"] = circle
    deep: list[Any] = []
    for _ in range(1_000):
        deep = [deep]
    around = Around(None)
    around.inner = around
    for value in (circle, Holder(anything=circle), around, deep, {"rows": deep}):
        with pytest.raises(StateTypeError, match="something in it holds itself, or is nested more than 250 levels"):
            SERIALIZER.dumps_typed(value)


def test_only_addresses_are_made_of_what_pydantic_has() -> None:
    """A checkpoint cannot name any other function of the module of addresses."""
    made = ormsgpack.packb(("pydantic.networks", "validate_email", "a@b.example"))
    with pytest.raises(StateTypeError, match="validate_email"):
        SERIALIZER.loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(0, made))))


MESSAGES = {
    "plain": AIMessage("yes", id="m1"),
    "calls": AIMessage("", tool_calls=[{"name": "look", "args": {"at": [1, 2.5, None, True]}, "id": "c1"}]),
    "usage": AIMessage("yes", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    "blocks": AIMessage([{"type": "text", "text": "yes"}, "no"], additional_kwargs={"reasoning_content": "hm"}),
    "chunk": AIMessageChunk(content="y", id="m1", response_metadata={"finish_reason": "stop"}),
    "result": ToolMessage("found", tool_call_id="c1", name="look", artifact={"exit_code": 0, b"key": (1, 2)}),
    "another field": HumanMessage("hello", mood="good"),
    "a model": ToolMessage("found", tool_call_id="c1", artifact=Inner(n=1)),
    "a set": ToolMessage("found", tool_call_id="c1", artifact={1}),
    "a date": HumanMessage("when?", additional_kwargs={"at": date(2026, 1, 2)}),
    "half a character": HumanMessage("\ud83d"),
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_written_as_langgraph_writes_it(message: BaseMessage) -> None:
    """To the byte, so that LangGraph's own reader and earlier versions of ours read the same."""
    ours, theirs = StateSerializer().dumps_typed([message]), JsonPlusSerializer().dumps_typed([message])
    assert ours == theirs


def test_a_message_is_written_without_a_dump_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step writes all messages of the state again, and a dump costs more than all the rest."""
    dumped: list[BaseModel] = []
    monkeypatch.setattr(AIMessage, "model_dump", dumped.append)
    StateSerializer().dumps_typed({"messages": [AIMessage("yes")]})
    assert dumped == []
