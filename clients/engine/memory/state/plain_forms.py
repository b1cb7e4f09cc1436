"""Values of classes that are a plain value and something more: a `Counter`, a `defaultdict`, a user's own list class.

A checkpoint has them as LangGraph's reader takes them: a class, and what its constructor is given. Without this they
come back as the plain value, and a turn fails later where it uses what is missing. Whole numbers of more than 64 bits
have no form of their own in msgpack. A `datetime` in a zone would come back with the zone's offset of that moment,
which is another time of day after the next change of the clocks.
"""

import builtins
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

PLAIN = (dict, list, str, int, float, bytes)
_COLLECTIONS = (Counter, OrderedDict)
_MADE_BY = frozenset({"list", "dict", "set", "int", "float", "str", "bool", "tuple", "frozenset", "bytes"})
"""What may stand in a checkpoint as that which a `defaultdict` makes its values with."""
_ARGUMENTS: Mapping[type, Callable[[Any], tuple[Any, ...]]] = {
    Fraction: lambda value: (value.numerator, value.denominator),
    complex: lambda value: (value.real, value.imag),
    range: lambda value: (value.start, value.stop, value.step),
}
"""Values without a form in msgpack, and what their class makes them of."""
OURS: Mapping[tuple[str, str], Any] = {
    **{("collections", cls.__name__): cls for cls in (*_COLLECTIONS, defaultdict)},
    ("builtins", "int"): int,
    ("builtins", "dict"): dict,
    **{(cls.__module__, cls.__name__): cls for cls in _ARGUMENTS},
}
"""Classes that every checkpoint may name."""

_CLOCK = ("year", "month", "day", "hour", "minute", "second", "microsecond", "tzinfo", "fold")

Made = tuple[str, str, Any]
"""Module, name and what the class is made of: a tuple of arguments, or the only argument."""


def made_of(value: Any, is_known: Callable[[type], bool]) -> Made | None:
    """How a value of such a class is written; None: as its plain value."""
    cls = type(value)
    if cls is int:
        return ("builtins", "int", (hex(value), 16))
    if cls in _COLLECTIONS:
        return ("collections", cls.__name__, plain(value))
    if cls is defaultdict:
        factory = value.default_factory
        named = getattr(factory, "__name__", "")
        if factory is None or (named in _MADE_BY and getattr(builtins, named) is factory):
            return ("collections", "defaultdict", (named or None, plain(value)))
        return None
    if is_known(cls) and _is_made_again(cls, value):
        return (cls.__module__, cls.__name__, plain(value))
    return None


def numbers_of(value: Any) -> tuple[Any, ...] | None:
    """What a fraction, a complex number or a range is made of; None for all else."""
    arguments = _ARGUMENTS.get(type(value))
    return arguments(value) if arguments else None


def clock_of(value: Any) -> dict[str, Any] | None:
    """The parts of a `datetime` in a named zone; None for all else."""
    if type(value) is not datetime or not isinstance(value.tzinfo, ZoneInfo) or not value.tzinfo.key:
        return None
    return {name: getattr(value, name) for name in _CLOCK}


def plain(value: Any) -> Any:
    """The plain value that it is, whatever its class makes of it."""
    if isinstance(value, dict):
        return dict(dict.items(value))
    if isinstance(value, list):
        return list(list.__iter__(value))
    if isinstance(value, bytes):
        return bytes.join(b"", (value, b""))
    if isinstance(value, str):
        return str.__str__(value)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _is_made_again(cls: Any, value: Any) -> bool:
    """Whether the class makes the same value of its plain one. Others (a constructor of its own, fields beside) are
    kept as plain values."""
    try:
        made = cls(plain(value))
        return bool(type(made) is cls and made == value and _beside(made) == _beside(value))
    except Exception:
        return False


def _beside(value: Any) -> Any:
    return getattr(value, "__dict__", None) or {}


def whole_defaultdict(factory: str | None, items: Any) -> Any:
    """Raises KeyError for a function that no checkpoint may name."""
    if factory is not None and factory not in _MADE_BY:
        raise KeyError(factory)
    return defaultdict(getattr(builtins, factory) if factory else None, items)
