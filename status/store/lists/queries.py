"""Queries of the lists of executions and resources, and their pages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from agent_runner.status.brief import Brief
from agent_runner.status.log.log import State
from agent_runner.status.phases import Phase
from agent_runner.status.store.lists.list_filters import ListFilters
from agent_runner.status.store.records import Execution, Resource, ResourceKind


class View(Enum):
    """How much of its content a list shows, and what its limit in bytes does."""

    FULL = "full"
    """All content. A page ends when it reaches the limit."""
    FITTING = "fitting"
    """A page has as many entries as were asked for; the content of those that would not fit is left out."""
    BRIEF = "brief"
    """No content, short fields only. A page ends when it reaches the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The query of a list. The API creates it, the service completes it and narrows it to the caller's orgs. Page sizes
    are rows, 0 means the usual one; a page token is one that the same list gave."""

    org: str = ""
    orgs: Sequence[str] = ()
    """Only of these orgs, where the empty string is the platform; without any: of all orgs."""
    tags: Sequence[str] = ()
    """Entries must have all of these tags."""
    page_size: int = 0
    page_token: str = ""
    page: int = 1
    """Counted from 1, beginning at the token or at the newest entry."""
    view: View = View.FULL
    max_bytes: int | None = None
    """The page ends with the entry that reaches this size; the next token continues after it. See `View`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery(Query):
    phase: Phase | None = None
    session_id: str = ""
    agent: str = ""
    """The agent's id; before the service has looked it up, also its slug."""
    waiting: bool | None = None
    """Only executions that wait for a person, or only those that do not."""
    more: ListFilters = field(default_factory=ListFilters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Newest first. `next_token` is empty on the last page. `total` is counted up to 10,000."""

    executions: Sequence[Execution]
    states: Sequence[State | Brief]
    """The content of each execution at the same moment: its folded state or its `Brief`."""
    next_token: str
    total: int
    page_size: int
    """The entries of a full page: the requested number, within the limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceQuery(Query):
    """A query for resources of one kind."""

    kind: ResourceKind
    parent_id: str = ""
    grandparent: tuple[ResourceKind, str] | None = None
    """The kind of the parents, and the id of the parents' own parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePage:  # as `Page`
    resources: Sequence[Resource]
    next_token: str
    total: int
    page_size: int
