"""What the control plane promises, in its simplest form: lists in memory. It knows nothing of the product."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 4, 5
CALL_OVER, CALL_FAILED = (3, 4), 4
HUMAN, SYSTEM = 1, 4
CANCELLED_TEXT = "cancelled"
NOT_FINISHED = "Not finished: the execution ended first"

Entry = tuple[Any, ...]


@dataclass(kw_only=True)
class Described:
    """What executions and resources have in common. `number`: in the order of creation."""

    number: int
    id: str
    org: str
    name: str
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Resource(Described):
    kind: str
    slug: str
    parent_id: str = ""
    text: str = ""

    @property
    def is_default(self) -> bool:
        """An agent's own instance."""
        return self.kind == "AgentInstance" and self.slug.endswith("-default")


@dataclass(kw_only=True)
class Execution(Described):
    session_id: str
    agent_id: str
    message: str
    phase: int = PENDING
    error: str = ""
    messages: list[Entry] = field(default_factory=list)
    """(type, content)"""
    calls: list[Entry] = field(default_factory=list)
    """(id, name, status, error), of tools and in the same way of sub-agents"""
    subs: list[Entry] = field(default_factory=list)
    todos: dict[str, Entry] = field(default_factory=dict)
    """id -> (content, status)"""

    @property
    def over(self) -> bool:
        return self.phase >= COMPLETED

    def merge(self, said: "Report") -> None:
        """A list that is not empty replaces, a phase that is named holds unless it leads back; the rest stays."""
        self.messages = said.messages or self.messages
        self.calls = said.calls or self.calls
        self.subs = said.subs or self.subs
        self.todos = said.todos or self.todos
        self.error = said.error or self.error
        self.phase = max(self.phase, said.phase)
        if self.phase in (FAILED, CANCELLED):
            self.calls = [_closed(call) for call in self.calls]
            self.subs = [_closed(sub) for sub in self.subs]
        if self.phase == CANCELLED:
            self.error = CANCELLED_TEXT
            self.messages = [*self.messages, (SYSTEM, CANCELLED_TEXT)]


@dataclass(kw_only=True)
class Report:
    """A partial status."""

    phase: int = 0
    error: str = ""
    messages: list[Entry] = field(default_factory=list)
    calls: list[Entry] = field(default_factory=list)
    subs: list[Entry] = field(default_factory=list)
    todos: dict[str, Entry] = field(default_factory=dict)


class Model:
    """One org."""

    def __init__(self, org: str) -> None:
        self.org = org
        self.executions: list[Execution] = []
        self.resources: list[Resource] = []
        self._number = 0

    def number(self) -> int:
        self._number += 1
        return self._number

    def resource(self, kind: str, id: str) -> Resource | None:
        return next((r for r in self.resources if (r.kind, r.id) == (kind, id)), None)

    def taken(self, kind: str, slug: str) -> bool:
        return any((r.kind, r.slug) == (kind, slug) for r in self.resources)

    def in_front_of(self, execution: Execution) -> list[Execution]:
        """What its session has to finish first, oldest first."""
        return [
            other
            for other in self.executions
            if other.session_id == execution.session_id and other.number < execution.number and not other.over
        ]

    def agent_of(self, session_id: str) -> Resource | None:
        """By its instance; None when one of the three is gone."""
        session = self.resource("Session", session_id)
        instance = self.resource("AgentInstance", session.parent_id) if session else None
        return self.resource("Agent", instance.parent_id) if instance else None

    def remove_resource(self, resource: Resource) -> None:
        """An agent's default instance goes with it."""
        own = f"{resource.slug}-default"
        self.resources = [
            r
            for r in self.resources
            if r is not resource and not (resource.kind == "Agent" and (r.parent_id, r.slug) == (resource.id, own))
        ]

    def executions_where(self, holds: Callable[[Execution], bool]) -> list[Execution]:
        """Newest first."""
        return sorted((e for e in self.executions if holds(e)), key=lambda e: -e.number)

    def resources_where(self, kind: str, holds: Callable[[Resource], bool]) -> list[Resource]:
        """Newest first."""
        return sorted((r for r in self.resources if r.kind == kind and holds(r)), key=lambda r: -r.number)


def has(tags: Iterable[str]) -> Callable[[Described], bool]:
    wanted = set(tags)
    return lambda described: wanted <= set(described.tags)


def _closed(call: Entry) -> Entry:
    id, name, status, _ = call
    return call if status in CALL_OVER else (id, name, CALL_FAILED, NOT_FINISHED)
