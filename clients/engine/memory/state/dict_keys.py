"""Keys of dicts that msgpack has as something else: members of an enum, dates, UUIDs, decimal numbers, records.

LangGraph writes such a key as a text or refuses it, and a turn that looks a value up by the key does not find it. Here
a dict with such a key is written as its pairs. Looking for these keys costs a walk through all dicts and lists, so it
is done only where msgpack has found a key that is no text.
"""

from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

REFUSED = "Dict key must be str"
"""How msgpack refuses a key that is no text, unless told to take it."""
_NATIVE = frozenset({str, float, bool, bytes, type(None)})
_KEPT = (date, time, timedelta, UUID, Decimal, frozenset)
_BITS = 64


class Pairs(list[tuple[Any, Any]]):
    """A dict in the form in which it is written."""


def keyed(value: Any, is_known: Callable[[type], bool]) -> Any:
    """`value` with each dict inside it that has such keys as `Pairs`. `is_known`: whether a class is made again."""
    kind = type(value)
    if kind is dict:
        whole = {key: keyed(one, is_known) for key, one in value.items()}
        if not any(_is_kept(key, is_known) for key in whole):
            return whole
        return Pairs((_plain(key, is_known), one) for key, one in whole.items())
    if kind is list:
        return [keyed(one, is_known) for one in value]
    if kind is tuple:
        return tuple(keyed(one, is_known) for one in value)
    return value


def dict_of(pairs: Any) -> Mapping[Any, Any]:
    """The dict that was written as these pairs."""
    return {tuples(key): value for key, value in pairs}


def tuples(value: Any) -> Any:
    """A checkpoint has lists where the value had tuples."""
    return tuple(tuples(one) for one in value) if isinstance(value, list) else value


def _is_kept(key: Any, is_known: Callable[[type], bool]) -> bool:
    kind = type(key)
    if kind in _NATIVE:
        return False
    if kind is int:
        return bool(key.bit_length() >= _BITS)
    if kind is tuple:
        return any(_is_kept(one, is_known) for one in key)
    return isinstance(key, _KEPT) or is_known(kind)


def _plain(key: Any, is_known: Callable[[type], bool]) -> Any:
    """Beside keys that are kept: the member of an enum that nobody declared is its value, as msgpack has it."""
    return key.value if isinstance(key, Enum) and not is_known(type(key)) else key
