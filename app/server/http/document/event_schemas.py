"""The events of the streams in `/openapi.json`: one schema for each event, and one for each kind of row.

The rows are those of `status/log/row_kinds.py`. `clients/js/events.d.ts` is made from the same schemas.
"""

from collections.abc import Mapping
from typing import Any

from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import EVENTS, JSON, STRING, Schema, object_of
from agent_runner.app.server.listing.summary_view import COUNTS, ROW, rows_of
from agent_runner.status.failures import Code
from agent_runner.status.log.row_kinds import ROW_KINDS, RowKind
from agent_runner.status.phases import TERMINAL_PHASES, Phase

_SEQ: Schema = {"type": "integer", "minimum": 1, "description": "the number in the log, without gaps"}
_AT: Schema = {"type": "string", "format": "date-time"}
_FENCE: Schema = {"type": "integer", "minimum": 0, "description": "rises when the run has another owner"}
_PHASE: Schema = {"enum": [phase.wire_name for phase in Phase], "description": "begins with this row"}
_SETS_PHASE = frozenset({"phase", "merge"})


def row_name(kind: RowKind) -> str:
    """The name of its schema: `ToolCallRow` for `tool_call`."""
    return "".join(part.capitalize() for part in kind.name.split("_")) + "Row"


def _row(kind: RowKind) -> Schema:
    row = object_of(seq=_SEQ, at=_AT, fence=_FENCE, kind={"const": kind.name}, payload=kind.payload())
    if kind.name in _SETS_PHASE:
        row["properties"]["phase"] = _PHASE
    return {**row, "description": kind.says}


_UPDATE: Schema = {
    "oneOf": [ref(row_name(kind)) for kind in ROW_KINDS.values()],
    "description": "One row of the log. There may be more kinds in later versions: leave out what you do not know.",
}
_SNAPSHOT: Schema = {
    **object_of(seq=_SEQ, execution=ref("AgentExecution")),
    "description": "The execution as it is after row `seq`; updates follow it.",
}
_END: Schema = {
    **object_of(
        seq=_SEQ,
        phase={"enum": [phase.wire_name for phase in Phase if phase in TERMINAL_PHASES]},
        error_code={"enum": ["", *(code.value for code in Code)]},
    ),
    "description": "The last event. The stream closes.",
}
EXECUTION_EVENTS: Mapping[str, str] = {
    "snapshot": "SnapshotEvent",
    "update": "UpdateEvent",
    "end": "EndEvent",
    "error": "Problem",
}
"""The stream of one execution: the event's name, and the schema of its data."""
CHANGE_EVENTS: Mapping[str, str] = {"rows": "RowsEvent", "counts": "CountsEvent"}
"""The stream of a list's changes."""
NUMBERED = frozenset({"snapshot", "update", "end"})
"""The events that have an `id`."""
EVENT_PARTS: Mapping[str, Schema] = {
    **{row_name(kind): _row(kind) for kind in ROW_KINDS.values()},
    "SnapshotEvent": _SNAPSHOT,
    "UpdateEvent": _UPDATE,
    "EndEvent": _END,
    "ExecutionRow": {**ROW, "description": "One execution of a list."},
    "RowsEvent": {
        **object_of(executions=rows_of(ref("ExecutionRow"))),
        "description": "Executions that are new or changed. One is told whole, and may be told again.",
    },
    "CountsEvent": {**COUNTS, "description": "How many are in each phase."},
}
"""The schemas of this module that are referred to by name."""


def streamed(described: dict[str, Any]) -> dict[str, Any]:
    """The same answer, which may also be the event stream of an execution."""
    return {**described, "content": {**described.get("content", {}), EVENTS: _content(EXECUTION_EVENTS)}}


def listened() -> dict[str, Any]:
    """The event stream of a list's changes."""
    return {"description": "events, without an end", "content": {EVENTS: _content(CHANGE_EVENTS)}}


def _content(events: Mapping[str, str]) -> Schema:
    return {"itemSchema": {"oneOf": [_event(name, ref(part)) for name, part in events.items()]}}


def _event(name: str, data: Schema) -> Schema:
    event = object_of(event={"const": name}, data={**STRING, "contentMediaType": JSON, "contentSchema": data})
    if name in NUMBERED:
        event["properties"]["id"] = {**STRING, "pattern": "^[0-9]+$", "description": "the `seq` of the log"}
        event["required"] += ["id"]
    return event
