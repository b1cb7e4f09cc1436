"""Light rows and counts as JSON. What an execution does not have is left out."""

from typing import Any

from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import STRING, Schema, object_of
from agent_runner.status.log.log import rfc3339
from agent_runner.status.phases import Phase
from agent_runner.status.store.lists.summary_records import PhaseCounts, Summary


def row_json(row: Summary) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": row.id,
        "phase": row.phase.wire_name,
        "code": row.code,
        "message": row.message,
        "agent": row.agent,
        "graph": row.graph,
        "sessionId": row.session_id,
        "createdAt": rfc3339(row.created_at),
        "startedAt": _time(row.started_at),
        "endedAt": _time(row.ended_at),
        "waitSeconds": None if row.wait_s is None else round(row.wait_s, 3),
        "tokens": {"input": row.input_tokens, "output": row.output_tokens} if row.input_tokens is not None else None,
        "cost": dict(row.cost) if row.cost else None,
        "worker": row.worker,
        "attempt": row.attempt,
        "labels": dict(row.labels),
        "waitingForInput": row.waiting or None,
    }
    return {name: value for name, value in shown.items() if value not in (None, "", {})}


def counts_json(counts: PhaseCounts) -> dict[str, Any]:
    return {"phases": {phase.wire_name: counts.phases.get(phase, 0) for phase in Phase}, "more": counts.more}


def _time(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)


_WHOLE: Schema = {"type": "integer", "minimum": 0}
_AT: Schema = {"type": "string", "format": "date-time"}
ROW: Schema = object_of(id=STRING, phase=STRING, createdAt=_AT, attempt=_WHOLE)
ROW["properties"] |= {
    "code": {**STRING, "description": "of a failure"},
    "message": {**STRING, "description": "its beginning"},
    "agent": {**STRING, "description": "slug; the id of an agent that is gone"},
    "graph": STRING,
    "sessionId": STRING,
    "startedAt": {**_AT, "description": "of the last attempt"},
    "endedAt": _AT,
    "waitSeconds": {"type": "number", "description": "until a worker took it"},
    "tokens": object_of(input=_WHOLE, output=_WHOLE),
    "cost": {
        **object_of(amount={"type": "number", "minimum": 0}, currency=STRING),
        "description": "of the last attempt's model calls; missing where a price is not known",
    },
    "worker": STRING,
    "labels": {"type": "object", "additionalProperties": STRING},
    "waitingForInput": {"const": True},
}


def rows_of(row: Schema) -> Schema:
    return {"type": "array", "items": row}


ROWS_PAGE: Schema = object_of(
    executions=rows_of(ref("ExecutionRow")),
    nextPageToken={**STRING, "description": "empty on the last page"},
)
COUNTS: Schema = object_of(
    phases={"type": "object", "additionalProperties": _WHOLE},
    more={"type": "boolean", "description": "there are more than were counted"},
)
