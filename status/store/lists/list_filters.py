"""The filters of a list of executions, besides those that every list has. Imports nothing of the store."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent_runner.status.phases import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFilters:
    """All of them must hold; an empty one filters nothing. Times are epoch seconds of the database's clock."""

    phases: Sequence[Phase] = ()
    """In one of these."""
    code: str = ""
    graph: str = ""
    labels: Sequence[str] = ()
    """Each `key:value`; an execution must have all of them."""
    created_after: float | None = None
    """Created at this time or later."""
    created_before: float | None = None
    """Created before this time."""
    ids: Sequence[str] = ()
    """For `summaries_of`: only these."""
    text: str = ""
    """Part of its id, of its session's id or of the user's message; see `selection.SEARCHED`."""
