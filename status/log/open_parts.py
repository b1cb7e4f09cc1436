"""The open parts of a run: messages that are still streamed, and tool calls with their states."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class OpenMessage:
    scope: str
    pieces: list[str] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True, kw_only=True)
class OpenCall:
    """`shown` is the display name, `state` the contract's name of the call's state."""

    scope: str
    name: str
    shown: str
    message: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    state: str = "TOOL_CALL_PENDING"


def within(scope: str, call: OpenCall, id_: str) -> bool:
    """Whether `scope` is inside this call, at any depth."""
    path = f"{call.scope}/{id_}" if call.scope else id_
    return scope == path or scope.startswith(f"{path}/")
