"""Values of a graph's stream as the JSON that LangGraph's clients read: messages, interrupts, states, errors."""

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from agent_runner.status.log.plain import plain_text
from agent_runner.status.log.simpler import UNKNOWN, name_of, simpler

MAX_DEPTH = 64


def plain_part(value: Any, depth: int = MAX_DEPTH) -> Any:
    """`value` as plain JSON, without limits of size. Never raises: what has no form of its own is shown as text."""
    kind = type(value)  # looked at first, because nearly all that is streamed is of these kinds
    if value is None or kind is bool or kind is int:
        return value
    if kind is str:
        return plain_text(value)
    if kind is dict and depth > 0:
        return {plain_text(name_of(name)): plain_part(field, depth - 1) for name, field in value.items()}
    if isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth <= 0:
        return _described(value)
    if isinstance(value, Mapping):
        return {plain_text(name_of(name)): plain_part(field, depth - 1) for name, field in value.items()}
    if isinstance(value, list | set | frozenset) or (isinstance(value, tuple) and not hasattr(value, "_asdict")):
        return [plain_part(item, depth - 1) for item in value]
    return _of_object(value, depth)


def _of_object(value: Any, depth: int) -> Any:
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode()
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": _described(value)}
    form = simpler(value)
    return _described(value) if form is UNKNOWN else plain_part(form, depth - 1)


def _described(value: Any) -> str:
    try:
        return plain_text(str(value))
    except Exception:
        return f"<{type(value).__name__}>"
