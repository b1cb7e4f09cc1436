"""What of a run is open: messages that are still being said, and its tool calls with where they stand."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class OpenMessage:
    scope: str
    pieces: list[str] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True, kw_only=True)
class OpenCall:
    """`shown` is its display name, `state` the contract's."""

    scope: str
    name: str
    shown: str
    message: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    state: str = "TOOL_CALL_PENDING"


def within(scope: str, call: OpenCall, id_: str) -> bool:
    """Whether `scope` is that of this call's inside, or deeper."""
    path = f"{call.scope}/{id_}" if call.scope else id_
    return scope == path or scope.startswith(f"{path}/")
