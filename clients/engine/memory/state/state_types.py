"""The classes that a graph's state may hold: those that its schemas declare, by the name that a checkpoint uses.

LangGraph makes this list when a graph is compiled with its memory. Our memory is attached later, to a compiled graph,
which still knows its schemas. The list has the classes themselves, not only their names. So a class that is made in a
function, nested in another class or an instance of a generic is found again, and nothing is imported because a
checkpoint names it.
"""

import dataclasses
import functools
import re
import sys
import types
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from langchain_core.messages import BaseMessage
from langgraph.func import _TaskFunction
from langgraph.pregel import Pregel
from pydantic import BaseModel
from typing_extensions import is_typeddict

from agent_runner.clients.engine.entrypoint_input import PREVIOUS
from agent_runner.clients.engine.memory.state.plain_forms import PLAIN

TypeKey = tuple[str, str]
"""(module, name) as a checkpoint writes it."""

DEPTH = 8
"""How many references are followed from a graph's nodes and functions to find other graphs."""
_USER_MODULE = re.compile(r"^(agent_runner_user_graphs\..+)_[0-9a-f]+$")
_TOO_WIDE: tuple[type, ...] = (object, BaseModel, Enum, BaseMessage)
"""A schema that declares one of these does not say which classes there will be: it does not allow their sub-classes."""


def type_key(module: str, name: str) -> TypeKey:
    """The key of a class. A file of the user has another module name on each machine: the part that differs is cut."""
    return _USER_MODULE.sub(r"\1", module), name


def declared_types(graph: Pregel[Any, Any, Any, Any]) -> dict[TypeKey, type]:
    """The classes in the schemas of the graph and all graphs inside it, of nodes, channels and structured answers."""
    found: dict[TypeKey, type] = {}
    seen: set[int] = set()
    for one in _graphs(graph):
        for declared in _declarations(one):
            for cls in _classes(declared, seen):
                found.setdefault(type_key(cls.__module__, cls.__name__), cls)
    return found


def _declarations(graph: Pregel[Any, Any, Any, Any]) -> Iterator[Any]:
    builder = getattr(graph, "builder", None)
    for name in ("state_schema", "input_schema", "output_schema", "context_schema"):
        yield getattr(builder, name, None)
    for node in getattr(builder, "nodes", {}).values():
        yield getattr(node, "input_schema", None)
    for branches in getattr(builder, "branches", {}).values():
        for branch in branches.values():
            yield getattr(branch, "input_schema", None)
    for channel in graph.channels.values():
        for name in ("ValueType", "UpdateType"):
            yield getattr(channel, name, None)
    yield from _signatures(graph)
    for value in _referred(graph, 0, set()):
        # langchain's objects that ask for a structured answer: the answer's schema is in no schema of the state
        if type(value).__module__.startswith("langchain.agents.structured_output"):
            yield getattr(value, "schema", None)
            for spec in getattr(value, "schema_specs", None) or ():
                yield getattr(spec, "schema", None)


def _classes(declared: Any, seen: set[int]) -> Iterator[type]:
    """The classes that a type names, and the classes of their fields."""
    if type(declared).__name__ == "TypeAliasType":
        declared = declared.__value__
    if declared is None or id(declared) in seen:
        return
    if not isinstance(declared, type) or get_origin(declared) is not None:
        # A union, an Annotated, a generic or an alias: take the types behind it and in its brackets.
        behind = (getattr(declared, name, None) for name in ("__supertype__", "__bound__"))
        for part in (get_origin(declared), *get_args(declared), *behind, *getattr(declared, "__constraints__", ())):
            yield from _classes(part, seen)
        return
    seen.add(id(declared))
    if declared.__module__ in ("builtins", "typing", "collections", "collections.abc", "abc", "enum"):
        return
    if is_typeddict(declared):
        yield from _fields(declared, seen)
        return
    if not _is_record(declared):
        return
    yield declared
    yield from _fields(declared, seen)
    if declared not in _TOO_WIDE:
        subs: list[type] = declared.__subclasses__()
        for sub in subs:
            yield from _classes(sub, seen)


def _is_record(cls: type) -> bool:
    """Whether the serializer can write and restore it: a dataclass, a pydantic model, an enum, a named tuple, a class
    that is a plain value and something more."""
    if dataclasses.is_dataclass(cls) or issubclass(cls, (Enum, *PLAIN)) or hasattr(cls, "_asdict"):
        return True
    return issubclass(cls, BaseModel) or hasattr(cls, "__get_validators__") or hasattr(cls, "get_secret_value")


def _fields(cls: type, seen: set[int]) -> Iterator[type]:
    for declared in _hints(cls):
        yield from _classes(declared, seen)
    metadata = getattr(cls, "__pydantic_generic_metadata__", None)
    for argument in (metadata or {}).get("args", ()):
        yield from _classes(argument, seen)
    for base in getattr(cls, "__orig_bases__", ()):
        for argument in get_args(base):
            yield from _classes(argument, seen)


def _hints(cls: type) -> Iterable[Any]:
    """The types of its fields. Postponed annotations that cannot be resolved are left out one by one."""
    if isinstance(model := getattr(cls, "model_fields", None), dict):
        return [field.annotation for field in model.values()]
    module = vars(sys.modules.get(cls.__module__, types.ModuleType("")))
    try:
        return list(get_type_hints(cls, module, dict(vars(cls)), include_extras=True).values())
    except Exception:
        return [
            _resolved(one, module) for base in cls.__mro__ for one in vars(base).get("__annotations__", {}).values()
        ]


def _signatures(graph: Pregel[Any, Any, Any, Any]) -> Iterator[Any]:
    """What the functional API declares: the signatures of an entrypoint and of the tasks that a graph calls."""
    if PREVIOUS in graph.channels:
        for node in graph.nodes.values():
            yield from _signature(getattr(node.bound, "func", None) or getattr(node.bound, "afunc", None))
    for value in _referred(graph, 0, set()):
        if isinstance(value, _TaskFunction):
            yield from _signature(value.func)


def _signature(function: Any) -> Iterable[Any]:
    """The types of what a task or an entrypoint takes and returns: that is kept as a state is."""
    while isinstance(function, functools.partial):
        function = next((one for one in function.args if isinstance(one, types.FunctionType)), function.func)
    if not isinstance(function, types.FunctionType):
        return ()
    try:
        return list(get_type_hints(function, include_extras=True).values())
    except Exception:
        return [_resolved(one, function.__globals__) for one in function.__annotations__.values()]


def _resolved(declared: Any, module: dict[str, Any]) -> Any:
    text = declared if isinstance(declared, str) else getattr(declared, "__forward_arg__", None)
    if text is None:
        return declared
    try:
        return eval(text, module)  # noqa: S307 - the annotation is code of the user's module already
    except Exception:
        return None


def _graphs(graph: Pregel[Any, Any, Any, Any]) -> Iterator[Pregel[Any, Any, Any, Any]]:
    """The graph and those that its nodes, tools and functions call."""
    yield graph
    seen = {id(graph)}
    for value in _referred(graph, 0, set()):
        if isinstance(value, Pregel) and id(value) not in seen:
            seen.add(id(value))
            yield value


def _referred(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """All objects that can be reached from a graph: through its nodes, and the variables of functions in them."""
    if depth > DEPTH or id(value) in seen:
        return
    seen.add(id(value))
    yield value
    for inner in _inside(value):
        yield from _referred(inner, depth + 1, seen)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Pregel):
        return [node.bound for node in value.nodes.values()]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, types.FunctionType):
        globals_ = (value.__globals__[n] for n in value.__code__.co_names if n in value.__globals__)
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        return [*cells, *(one for one in globals_ if isinstance(one, Pregel | types.FunctionType | _TaskFunction))]
    if isinstance(value, list | tuple):
        return value[:100]
    if isinstance(value, dict):
        return list(value.values())[:100]
    inner = ("func", "afunc", "coroutine", "bound", "first", "middle", "last", "steps", "_tools_by_name")
    return [vars(value)[n] for n in inner if n in getattr(value, "__dict__", {})]


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
