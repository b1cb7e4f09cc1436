"""Reads JSON from outside. It accepts only values that every part of the system can write again.

JSON itself, and the library that reads it, allow more: NaN, numbers beyond floats, half of a surrogate pair, any depth.
A document with one of these could be stored, but not shown.
"""

import json
import math
import re
from typing import Any, NoReturn

from pydantic import BeforeValidator

from agent_runner.app.server.problems import invalid
from agent_runner.status.requests.whole_numbers import whole

MAX_DEPTH = 64
"""A worker shows at most half of that (`status.plain.MAX_DEPTH`); a protobuf message can be 100 deep."""
BOM = "\ufeff"
"""The library refuses it with a text of its own."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


WHOLE = BeforeValidator(whole)
"""In a strict model: JSON's 5.0 counts as 5, "5" is not a number."""


def read_json(text: bytes, what: str) -> Any:
    """Raises INVALID_ARGUMENT. `what` is the subject of the error's sentence."""
    try:
        given = text.decode()
        value = json.loads(given) if given.startswith(BOM) else _DECODER.decode(given)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        raise invalid(f"{what} is not valid Unicode text") from None
    except (ValueError, RecursionError) as error:
        raise invalid(f"{what} is not JSON: {error}") from None
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _too_deep(value):
        raise invalid(f"{what} is nested more than {MAX_DEPTH} deep")
    return value


def read_object(text: bytes, what: str) -> dict[str, Any]:
    """Raises INVALID_ARGUMENT."""
    value = read_json(text, what)
    if not isinstance(value, dict):
        raise invalid(f"{what} must be a JSON object")
    return value


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, (dict, list)) for inner in level)


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(f"{text[:40]} is beyond the largest number")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
