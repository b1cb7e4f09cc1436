"""The open parts of a run: messages that are still streamed, and tool calls with their states."""

from dataclasses import dataclass, field
from typing import Any

from agent_runner.status.log.plain import plain_text

MAX_ERROR_CHARS = 1000


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

    def ended(self, id_: str, result: str, *, failed: bool, error: str = "") -> dict[str, Any]:
        """The call is over now. Gives the row that says so. Without an `error` a failed call's is its result."""
        self.state = "TOOL_CALL_FAILED" if failed else "TOOL_CALL_COMPLETED"
        told: dict[str, Any] = {"id": id_, "status": self.state, "result": result}
        if failed:
            said = plain_text(error) or result or "The tool failed without saying why"
            told["error"] = said if len(said) <= MAX_ERROR_CHARS else "... " + said[-MAX_ERROR_CHARS:]
        return told


def within(scope: str, call: OpenCall, id_: str) -> bool:
    """Whether `scope` is inside this call, at any depth."""
    path = f"{call.scope}/{id_}" if call.scope else id_
    return scope == path or scope.startswith(f"{path}/")
