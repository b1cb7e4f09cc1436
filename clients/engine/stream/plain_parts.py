"""Values of a graph's stream as the JSON that LangGraph's clients read: messages, interrupts, states, errors."""

import dataclasses
import math
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from agent_runner.status.log.plain import plain_text

MAX_DEPTH = 64


def plain_part(value: Any, depth: int = MAX_DEPTH) -> Any:
    """`value` as plain JSON, without limits of size. Never raises: what has no form of its own is shown as text."""
    kind = type(value)  # looked at first, because nearly all that is streamed is of these kinds
    if value is None or kind is bool or kind is int:
        return value
    if kind is str:
        return plain_text(value)
    if kind is dict and depth > 0:
        return {plain_text(str(name)): plain_part(field, depth - 1) for name, field in value.items()}
    if isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth <= 0:
        return _described(value)
    if isinstance(value, Mapping):
        return {plain_text(str(name)): plain_part(field, depth - 1) for name, field in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain_part(value._asdict(), depth - 1)
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [plain_part(item, depth - 1) for item in value]
    return _of_object(value, depth)


def _of_object(value: Any, depth: int) -> Any:
    if isinstance(value, Enum):
        return plain_part(value.value, depth - 1)
    if isinstance(value, UUID | Decimal | PurePath):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode()
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": _described(value)}
    if isinstance(value, type):
        return _described(value)
    try:
        if callable(dump := getattr(value, "model_dump", None)):
            return plain_part(dump(), depth - 1)
        if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            return {one.name: plain_part(getattr(value, one.name), depth - 1) for one in fields}
    except Exception:  # a foreign object: whatever it does, the run goes on
        return _described(value)
    return _described(value)


def _described(value: Any) -> str:
    try:
        return plain_text(str(value))
    except Exception:
        return f"<{type(value).__name__}>"
