"""The filters of lists of executions, as parameters of an address: the same for pages, counts and changes."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import Field

from agent_runner.app.server.contract.texts import MAX_INDEXED
from agent_runner.app.server.http.routes.parameters import Tags, Waiting
from agent_runner.app.server.problems import invalid, known
from agent_runner.status.phases import PHASE_FORMS, Phase
from agent_runner.status.store.executions.tags import MAX_LABEL
from agent_runner.status.store.lists.list_filters import ListFilters
from agent_runner.status.store.lists.queries import ExecutionQuery
from agent_runner.status.store.lists.selection import SEARCHED

MAX_SEARCHED_TEXT = 200
MAX_LABELS = 16
ROUNDED_S = 0.0005
_PHASES = Query(
    default_factory=list,
    alias="phase",
    description="with or without EXECUTION_; given several times: in one of them",
)
Phases = Annotated[list[Annotated[str, Field(json_schema_extra={"enum": ["", *PHASE_FORMS]})]], _PHASES]
Labels = Annotated[
    list[Annotated[str, Field(max_length=MAX_LABEL, pattern="^[^:\\u0000]+:[^\\u0000]*$")]],
    Query(
        default_factory=list,
        alias="label",
        max_length=MAX_LABELS,
        description="`key:value`; given several times: what has all of them",
    ),
]
ListView = Annotated[
    Literal["", "brief", "full", "summary"],
    Query(
        description="`full`: entries as their own addresses show them; `summary`: light rows, for lists that people"
        " look at; without it, or `brief`: names and short fields, texts cut after 200 characters"
    ),
]
Named = Annotated[str, Query(max_length=MAX_INDEXED)]
_TIME_OR_NONE: dict[str, Any] = {"anyOf": [{"format": "date-time"}, {"const": ""}]}
Since = Annotated[
    str, Query(description="RFC 3339 with a time zone: created then or later", json_schema_extra=_TIME_OR_NONE)
]
Until = Annotated[str, Query(description="RFC 3339 with a time zone: created before", json_schema_extra=_TIME_OR_NONE)]
Searched = Annotated[
    str,
    Query(
        max_length=MAX_SEARCHED_TEXT,
        description="part of an id, of a session's id or of the user's message. Whole ids are found wherever they are;"
        f" for other texts a page looks at {SEARCHED} executions, and may be short and still have a next one",
    ),
]


def _asked(
    tags: Tags,
    phase: Phases,
    label: Labels,
    code: Named = "",
    agent: str = "",
    graph: Named = "",
    session: str = "",
    session_id: str = "",
    created_after: Since = "",
    created_before: Until = "",
    q: Searched = "",
    waiting_for_input: Waiting = "",
    org: str = "",
) -> ExecutionQuery:
    more = ListFilters(
        phases=[known("phase", Phase.named, one) for one in phase if one],
        code=code.strip().upper(),
        graph=graph,
        labels=label,
        created_after=_time("created_after", created_after),
        created_before=_time("created_before", created_before),
        text=q,
    )
    if session and session_id and session != session_id:
        raise invalid("session: is not what session_id says")
    waiting = _flag(waiting_for_input, "waiting_for_input")
    return ExecutionQuery(org=org, session_id=session or session_id, agent=agent, waiting=waiting, tags=tags, more=more)


Asked = Annotated[ExecutionQuery, Depends(_asked)]
"""The filters of a call. Raises INVALID_ARGUMENT."""


def _flag(given: str, field: str) -> bool | None:
    if given.lower() not in ("", "true", "false"):
        raise invalid(f"{field}: {given[:20]!r} is neither true nor false")
    return given.lower() == "true" if given else None


def _time(field: str, given: str) -> float | None:
    """Epoch seconds, from where the times begin that are shown so: they are rounded to milliseconds."""
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given)
        if at.tzinfo is None:
            raise ValueError("no time zone")
        return at.timestamp() - ROUNDED_S
    except (ValueError, OverflowError):
        raise invalid(
            f"{field}: {given[:40]!r} is no time", next_step="Write it as 2026-11-29T08:00:00Z, with its zone."
        ) from None
