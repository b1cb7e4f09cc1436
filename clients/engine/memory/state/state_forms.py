"""Values of a graph's state in the form of a checkpoint, each whole, with the class that it has.

LangGraph writes a pydantic model as its own dump. A dump leaves out what a sub-class adds to the declared one and what
is private, and it has the names of fields, which a model with aliases does not take again; what was written so comes
back as something else. Here a model's fields are written as the values that they are. The form stays one that
LangGraph's own reader takes.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import ormsgpack
from langchain_core.load.serializable import Serializable
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.types import SendProtocol, _DeltaSnapshot
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, RootModel

from agent_runner.clients.engine.memory.state.dict_keys import REFUSED, Pairs, keyed, tuples
from agent_runner.clients.engine.memory.state.plain_forms import PLAIN, clock_of, made_of, numbers_of, plain

WHOLE = 5
"""How many parts the form of a whole model has. LangGraph's has four; it does not look at the fifth, private values."""
MESSAGES = frozenset({AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage})
"""Classes whose dump is their fields. A sub-class may have a dump of its own."""
_URLS = "pydantic.networks"
_ANY_KEYS = jsonplus._option | ormsgpack.OPT_PASSTHROUGH_SUBCLASS | ormsgpack.OPT_PASSTHROUGH_BIG_INT
_TEXT_KEYS = _ANY_KEYS & ~ormsgpack.OPT_NON_STR_KEYS

DEEP = 100
"""Objects in each other. No object that is this deep fails for another reason, unless its class has no form."""


class StateWriter:
    """`is_known`: whether a class is one that will be made again. After an error: `culprit` is the class that had no
    form, `nested` says whether something holds itself or is nested too deeply."""

    def __init__(self, is_known: Callable[[type], bool]) -> None:
        self._is_known = is_known
        self.culprit, self.nested, self._depth = "", False, 0
        self._other_keys = False
        """A key that is no text was found. From then on all are looked at first: a try that fails after all that is
        deeper was written would double the work with each level."""

    def packed(self, value: Any) -> bytes:
        return self._pack(value, self._form)

    def _packed_inside(self, value: Any) -> bytes:
        """As `packed`, for what is inside a model or a question: classes that would not be made again are fields."""
        return self._pack(value, self._form_inside)

    def _pack(self, value: Any, form: Callable[[Any], Any]) -> bytes:
        self._depth += 1
        try:
            return self._bytes_of(value, form)
        except (TypeError, RecursionError) as error:  # an error in `form` may lose its words on the way out
            self.nested = self.nested or self._depth > DEEP or "recursion" in str(error).lower()
            raise
        finally:
            self._depth -= 1

    def _bytes_of(self, value: Any, form: Callable[[Any], Any]) -> bytes:
        if not self._other_keys:
            try:
                return ormsgpack.packb(value, default=form, option=_TEXT_KEYS)
            except TypeError as error:
                if REFUSED not in str(error):
                    raise
                self._other_keys = True
        return ormsgpack.packb(keyed(value, self._is_known), default=form, option=_ANY_KEYS)

    def _form(self, value: Any) -> Any:
        if isinstance(value, Serializable):  # LangChain's messages: looked at first, because nearly all are these
            return _message(value) or self._langgraphs(value)
        return self._form_of(value, self.packed)

    def _form_inside(self, value: Any) -> Any:
        if isinstance(value, Serializable):
            return _message(value) or self._langgraphs(value)
        if isinstance(value, BaseModel) and not self._is_known(type(value)):
            return keyed(value.model_dump(), self._is_known)
        if dataclasses.is_dataclass(value) and not isinstance(value, type) and not self._is_known(type(value)):
            return keyed(_fields_of(value), self._is_known)
        return self._form_of(value, self._packed_inside)

    def _form_of(self, value: Any, pack: Callable[[Any], bytes]) -> Any:
        """What LangGraph writes for `value`, but for whatever can have other values inside."""
        if isinstance(value, BaseModel):
            return self._model(value)
        if isinstance(value, _DeltaSnapshot):
            return ormsgpack.Ext(jsonplus.EXT_DELTA_SNAPSHOT, pack(value.value))
        if isinstance(value, Interrupt):
            pack = self._packed_inside
        if _has_own_form(value):
            return self._langgraphs(value)
        if isinstance(value, PLAIN):
            return self._subclass(value, pack)
        code, parts = _call_of(value)
        if parts is None:
            return self._langgraphs(value)
        return ormsgpack.Ext(code, pack((type(value).__module__, type(value).__name__, parts)))

    def _subclass(self, value: Any, pack: Callable[[Any], bytes]) -> Any:
        if isinstance(value, Pairs):
            return ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, pack(("builtins", "dict", list(value))))
        made = made_of(value, self._is_known)
        if made is None:
            return keyed(plain(value), self._is_known)
        several = isinstance(made[2], tuple)
        code = jsonplus.EXT_CONSTRUCTOR_POS_ARGS if several else jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG
        return ormsgpack.Ext(code, pack(made))

    def _model(self, model: BaseModel) -> Any:
        """A model as its fields. One of which a field has no form, but whose dump has one, is written as its dump."""
        cls = type(model)
        try:
            private = model.__pydantic_private__ or {}
            if private and not self._is_writable(private):
                private = {}  # a lock, a client: the model makes it anew
            whole = (cls.__module__, cls.__name__, _values(model), "model_validate_json", private)
            return ormsgpack.Ext(jsonplus.EXT_PYDANTIC_V2, self._packed_inside(whole))
        except (TypeError, ormsgpack.MsgpackEncodeError):
            dumped = (cls.__module__, cls.__name__, model.model_dump(), "model_validate_json")
            return ormsgpack.Ext(jsonplus.EXT_PYDANTIC_V2, self._packed_inside(dumped))

    def _is_writable(self, value: Any) -> bool:
        try:
            self._packed_inside(value)
        except (TypeError, ormsgpack.MsgpackEncodeError):
            return False
        return True

    def _langgraphs(self, value: Any) -> Any:
        try:
            return jsonplus._msgpack_default(value)
        except TypeError:
            self.culprit = self.culprit or f"{type(value).__module__}.{type(value).__qualname__}"
            raise


def _message(value: Any) -> ormsgpack.Ext | None:
    """What LangGraph writes for a message, without a dump of it. A state's messages are written again at each step.
    None: it holds something that a dump would change."""
    cls = type(value)
    if cls not in MESSAGES or value.__pydantic_extra__:
        return None
    parts = (cls.__module__, cls.__name__, vars(value), "model_validate_json")
    try:
        return ormsgpack.Ext(jsonplus.EXT_PYDANTIC_V2, ormsgpack.packb(parts, option=jsonplus._option))
    except ormsgpack.MsgpackEncodeError:
        return None


def _call_of(value: Any) -> tuple[int, Any]:
    """How the class of a value is called to make it again, and with what; None as what: LangGraph knows."""
    code, parts = jsonplus.EXT_CONSTRUCTOR_POS_ARGS, numbers_of(value)
    if isinstance(value, deque) and value.maxlen is not None:
        parts = (list(value), value.maxlen)
    elif isinstance(value, Send | SendProtocol):  # the class first: to ask for a protocol is dear
        timeout = getattr(value, "timeout", None)
        parts = (value.node, value.arg, *(() if timeout is None else (timeout,)))
    if parts is not None:
        return code, parts
    if isinstance(value, set | frozenset | deque):
        return jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, tuple(value)
    if type(value).__module__ == _URLS:
        return jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, str(value)
    if clock := clock_of(value):
        return jsonplus.EXT_CONSTRUCTOR_KW_ARGS, clock
    if hasattr(value, "_asdict"):
        return jsonplus.EXT_CONSTRUCTOR_KW_ARGS, value._asdict()
    is_record = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return jsonplus.EXT_CONSTRUCTOR_KW_ARGS, _fields_of(value) if is_record else None


def whole_model(cls: Any, given: Any, private: Mapping[str, Any] | None) -> Any:
    """The model that was written as `given`. `private`: its private values; None if LangGraph wrote it."""
    try:
        made = cls.model_validate(given, by_name=True, by_alias=True)
    except Exception:
        # A field that is not in its class any more, or was set to what the class does not take: the model as it was.
        made = cls.model_construct(given) if issubclass(cls, RootModel) else cls.model_construct(**given)
    if private and made.__pydantic_private__ is not None:
        made.__pydantic_private__.update({n: v for n, v in private.items() if n in cls.__private_attributes__})
    return made


def whole_record(cls: Any, given: Mapping[str, Any]) -> Any:
    """A dataclass or a named tuple from its fields, also those that its constructor does not take."""
    later = {f.name for f in dataclasses.fields(cls) if not f.init} if dataclasses.is_dataclass(cls) else set()
    made = cls(**{name: value for name, value in given.items() if name not in later})
    for name in later & set(given):
        object.__setattr__(made, name, given[name])
    return made


def whole_enum(cls: Any, given: Any) -> Any:
    """A member of an enum by its value. A checkpoint has lists where the value has tuples."""
    return cls(tuples(given)) if isinstance(given, list) else cls(given)


def is_url(module: str, cls: Any) -> bool:
    """Whether a class is one of pydantic's addresses: a text that is checked, and nothing else."""
    return module == _URLS and isinstance(cls, type) and hasattr(cls, "unicode_string")


def _values(model: BaseModel) -> Any:
    if isinstance(model, RootModel):
        return model.root
    left_out = {name for name, field in type(model).model_fields.items() if field.exclude}
    own = {name: value for name, value in vars(model).items() if name in type(model).model_fields}
    return {n: v for n, v in (own | (model.__pydantic_extra__ or {})).items() if n not in left_out}


def _fields_of(record: Any) -> dict[str, Any]:
    return {one.name: getattr(record, one.name) for one in dataclasses.fields(record) if hasattr(record, one.name)}


def _has_own_form(value: Any) -> bool:
    """What LangGraph looks at before anything else."""
    own = ("model_dump", "get_secret_value", "dict")
    return isinstance(value, Enum) or any(callable(getattr(value, name, None)) for name in own)
