"""What a client of LangGraph's own API asks of a run besides its input: the parts of its stream, a command, a
checkpoint to begin at, where to stop.

It is content, like the input: it is stored in the first row of the execution's log and purged with it. A run without
such a request behaves as all other executions do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

VALUES, UPDATES, MESSAGES, CUSTOM, EVENTS = "values", "updates", "messages", "custom", "events"
TASKS, CHECKPOINTS, DEBUG = "tasks", "checkpoints", "debug"
PARTS = (VALUES, UPDATES, MESSAGES, CUSTOM, EVENTS, TASKS, CHECKPOINTS, DEBUG)
"""The parts of a graph's stream that a run can report as rows of its log."""
EVERY_NODE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """`parts`: some of `PARTS`; `subgraphs`: those of sub-graphs too. `command`: `resume`, `update` and `goto`, instead
    of the input. `checkpoint_id`: empty for the head of the session. `facts`: more names in `configurable`."""

    parts: tuple[str, ...] = ()
    subgraphs: bool = False
    command: Mapping[str, Any] | None = None
    checkpoint_id: str = ""
    interrupt_before: tuple[str, ...] = ()
    interrupt_after: tuple[str, ...] = ()
    durability: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        told: dict[str, Any] = {
            "parts": list(self.parts),
            "subgraphs": self.subgraphs,
            "checkpoint_id": self.checkpoint_id,
            "interrupt_before": list(self.interrupt_before),
            "interrupt_after": list(self.interrupt_after),
            "durability": self.durability,
            "facts": dict(self.facts),
        }
        shown = {name: value for name, value in told.items() if value}
        return shown | ({} if self.command is None else {"command": dict(self.command)})

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        lists = {name: tuple(told.get(name) or ()) for name in ("parts", "interrupt_before", "interrupt_after")}
        return cls(
            subgraphs=bool(told.get("subgraphs")),
            command=told.get("command"),
            checkpoint_id=str(told.get("checkpoint_id") or ""),
            durability=str(told.get("durability") or ""),
            facts=dict(told.get("facts") or {}),
            **lists,
        )
