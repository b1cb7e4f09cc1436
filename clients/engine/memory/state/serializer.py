"""Writes state into checkpoints and restores it: strictly, and never silently as something else.

For a class that is not allowed, LangGraph's strict reader gives a dict, a string or None. The turn would go on with
that and fail somewhere, or not fail. Here the turn ends with an error that names the class and says what to do. The
saved state stays.
"""

import importlib
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from enum import Enum
from typing import Any, Self

import ormsgpack
from langchain_core.load.serializable import Serializable
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.pregel import Pregel
from pydantic import BaseModel

from agent_runner.clients.engine.memory.state.dict_keys import dict_of, tuples
from agent_runner.clients.engine.memory.state.plain_forms import OURS, whole_defaultdict
from agent_runner.clients.engine.memory.state.state_forms import (
    WHOLE,
    StateWriter,
    is_url,
    whole_enum,
    whole_model,
    whole_record,
)
from agent_runner.clients.engine.memory.state.state_types import TypeKey, declared_types, type_key

_OPTION = ormsgpack.OPT_NON_STR_KEYS
_PYDANTIC = (jsonplus.EXT_PYDANTIC_V1, jsonplus.EXT_PYDANTIC_V2)
_MAKERS = (
    jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG,
    jsonplus.EXT_CONSTRUCTOR_POS_ARGS,
    jsonplus.EXT_CONSTRUCTOR_KW_ARGS,
    *_PYDANTIC,
)


class StateTypeError(Exception):
    """The state holds a value that cannot be saved or restored; the text names the class and says what to do."""


class StateSerializer(JsonPlusSerializer):
    """`classes`: those that the schemas declare. A class allowed by name is imported when a checkpoint has it."""

    def __init__(self, classes: Mapping[TypeKey, type] | None = None) -> None:
        super().__init__(allowed_msgpack_modules=None)
        self._classes = dict(classes or {})
        self._names: set[TypeKey] = set()

    def with_classes(self, classes: Mapping[TypeKey, type]) -> Self:
        made = copy(self)
        made._classes = {**self._classes, **classes}
        return made

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> Self:
        """A copy that allows further classes. LangGraph calls this when a graph is compiled with our memory."""
        made = copy(self)
        made._classes, made._names = dict(self._classes), set(self._names)
        for one in extra_allowlist:
            if isinstance(one, type):
                made._classes[type_key(one.__module__, one.__name__)] = one
            else:
                made._names.add(type_key(one[0], one[-1]))
        return made

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Raises StateTypeError for a value that no checkpoint can hold."""
        if obj is None or isinstance(obj, bytes | bytearray):
            return super().dumps_typed(obj)
        writer = StateWriter(self._is_known)
        try:
            return "msgpack", writer.packed(obj)
        except (ormsgpack.MsgpackEncodeError, TypeError, ValueError, RecursionError) as error:
            raise StateTypeError(_unkept(writer, error)) from error

    def _is_known(self, cls: type) -> bool:
        module, name = cls.__module__, cls.__name__
        key = type_key(module, name)
        return (
            key in self._classes
            or key in self._names
            or (_shown(module), name) in self._names
            or (module, name) in SAFE_MSGPACK_TYPES
        )

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Raises StateTypeError for a class that is not allowed, no longer exists or refuses the saved values."""
        if data[0] != "msgpack":
            return super().loads_typed(data)
        problems: dict[str, None] = {}
        value = ormsgpack.unpackb(data[1], ext_hook=self._reader(problems), option=_OPTION)
        if problems:
            raise StateTypeError("; ".join(problems))
        return value

    def _reader(self, problems: dict[str, None]) -> Callable[[int, bytes], Any]:
        def read(code: int, data: bytes) -> Any:
            if code == jsonplus.EXT_DELTA_SNAPSHOT:
                return _DeltaSnapshot(ormsgpack.unpackb(data, ext_hook=read, option=_OPTION))
            if code not in _MAKERS:
                # Dates, arrays and the like: they have no classes of the user.
                return self._unpack_ext_hook(code, data)
            module, name, given, *more = ormsgpack.unpackb(data, ext_hook=read, option=_OPTION)
            try:
                return _made(code, self._find(module, name), given, more[-1] if len(more) + 3 == WHOLE else None)
            except StateTypeError as error:
                problems[str(error)] = None
            except Exception as error:
                problems[_unfit(module, name, error)] = None
            return None

        return read

    def _find(self, module: str, name: str) -> Any:
        key = type_key(module, name)
        if (module, name) in OURS:
            return OURS[module, name]
        if (module, name) in SAFE_MSGPACK_TYPES:
            return getattr(importlib.import_module(module), name)
        if is_url(module, cls := getattr(sys.modules.get(module), name, None)):
            return cls
        if key in self._classes:
            return self._classes[key]
        if key in self._names or (_shown(module), name) in self._names:
            try:
                return getattr(_module(module), name)
            except (ImportError, AttributeError):
                raise StateTypeError(
                    f"the saved state holds a {name} of {_shown(module)}, which is not there any more: put it back, or"
                    " begin a new session"
                ) from None
        raise StateTypeError(
            f"the saved state holds a {name} of {_shown(module)}, which the graph's schema does not declare, so it is"
            f" not made again. Declare it where it is kept (for example `field: {name}` or `list[{name}]` in the"
            " state's class), or allow it in langgraph.json: "
            f'"checkpointer": {{"serde": {{"allowed_msgpack_modules": [["{_shown(module)}", "{name}"]]}}}}.'
            " Nothing is lost: send the message again after that"
        )


def remembering(
    saver: BaseCheckpointSaver[Any], graph: Pregel[Any, Any, Any, Any], allowed: Collection[tuple[str, str]] = ()
) -> BaseCheckpointSaver[Any]:
    """Our memory for one graph: it restores the classes of this graph's state and those in `allowed`, no others."""
    serde: object = saver.serde
    if not isinstance(serde, StateSerializer):
        return saver
    made = copy(saver)
    made.serde = serde.with_classes(declared_types(graph)).with_msgpack_allowlist(allowed)
    return made


def _module(name: str) -> Any:
    """The module of this name. A file of the user has another module name in each process: it is found by its key."""
    if (key := type_key(name, "")[0]) != name:
        found = next((module for module in sys.modules.copy() if type_key(module, "")[0] == key), name)
        return sys.modules.get(found) or importlib.import_module(name)
    return importlib.import_module(name)


def _made(code: int, cls: Any, given: Any, private: Mapping[str, Any] | None) -> Any:
    if cls in (set, frozenset):
        return cls(map(tuples, given))
    if cls is dict:
        return dict_of(given)
    if cls is defaultdict:
        return whole_defaultdict(*given)
    if code == jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG:
        return whole_enum(cls, given) if isinstance(cls, type) and issubclass(cls, Enum) else cls(given)
    if code == jsonplus.EXT_CONSTRUCTOR_POS_ARGS:
        return cls(*given) if cls.__name__ != "Send" or len(given) < 3 else cls(*given[:2], timeout=given[2])
    if code == jsonplus.EXT_PYDANTIC_V2 and issubclass(cls, BaseModel) and not issubclass(cls, Serializable):
        return whole_model(cls, given, private)
    if code not in _PYDANTIC:
        return whole_record(cls, given)
    try:
        return cls(**given)
    except Exception:
        return (cls.model_construct if hasattr(cls, "model_construct") else cls.construct)(**given)


def _unkept(writer: StateWriter, error: Exception) -> str:
    if not (culprit := writer.culprit):
        # A number that is too large, a circle, a strange key: no class is at fault.
        why = "something in it holds itself, or is nested more than 250 levels deep" if writer.nested else error
        return (
            f"the state cannot be kept: {why}. Put the value into the state in another form (as a text, for example),"
            " or keep it out of the state (a module variable, the context, or an UntrackedValue channel)"
        )
    return (
        f"the state cannot be kept: it holds a {_shown(culprit)}, which has no form in a checkpoint. Make the class a"
        " dataclass or a pydantic model that the state's schema declares, or keep the object out of the state (a module"
        " variable, the context, or an UntrackedValue channel)"
    )


def _unfit(module: str, name: str, error: Exception) -> str:
    return (
        f"the saved state holds a {name} of {_shown(module)} that the class of today does not take"
        f" ({type(error).__name__}: {error}): let it take the old form too (defaults for new fields), or begin a new"
        " session"
    )


def _shown(module: str) -> str:
    return type_key(module, "")[0].removeprefix("agent_runner_user_graphs.")
