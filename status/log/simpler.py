"""One step from an object of Python towards JSON: the same for the status and the streams of LangGraph's clients."""

import dataclasses
from collections import deque
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

UNKNOWN: Any = object()
"""Stands for the form of a value that has none but its text."""


def simpler(value: Any) -> Any:
    """The value of an enum, the fields of a model, a dataclass or a named tuple, the ISO form of a date. UNKNOWN for
    what is of no such kind, and for objects that fail when they are asked. Never raises."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID | Decimal | PurePath):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, deque):
        return list(value)
    if isinstance(value, type):
        return UNKNOWN
    try:
        for name in ("model_dump", "_asdict"):
            if callable(dump := getattr(value, name, None)):
                return dump()
        if dataclasses.is_dataclass(value):
            return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    except Exception:  # a foreign object: whatever it does, the run goes on
        return UNKNOWN
    return UNKNOWN


def name_of(key: Any) -> str:
    """The name of a field that a key of a mapping is in JSON."""
    return str(key.value if isinstance(key, Enum) else key)
