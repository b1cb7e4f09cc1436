"""Schedules and their firings in `/openapi.json`."""

from collections.abc import Mapping
from typing import Any

from agent_runner.status.phases import Phase
from agent_runner.status.schedules.schedule import CatchUp, Ended, FiringOutcome, Overlap

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}

SCHEDULE: Schema = {
    "type": "object",
    "required": ["id", "org", "name", "state", "timezone", "catch_up", "overlap", "paused", "fired", "execution"],
    "properties": {
        **dict.fromkeys(("id", "org", "name", "timezone", "session_id", "made_by"), _TEXT),
        "cron": _TEXT,
        "at": {"type": "array", "items": _TIME, "description": "instead of `cron`"},
        "state": {"enum": ["active", "paused", "ended"]},
        "ended": {"enum": [one.value for one in Ended if one.value], "description": "why it is over"},
        "next_at": {**_TIME, "description": "missing: it is over"},
        **dict.fromkeys(("end_time", "last_fired_at", "created_at", "updated_at"), _TIME),
        "max_firings": {**_COUNT, "description": "0: any number"},
        "catch_up": {"enum": [one.value for one in CatchUp]},
        "catch_up_limit": _COUNT,
        "grace_s": {"type": "number"},
        "overlap": {"enum": [one.value for one in Overlap]},
        "paused": {"type": "boolean"},
        "fired": {**_COUNT, "description": "executions that it made by the clock"},
        "revision": {**_COUNT, "description": "rises with each change by a caller"},
        "api": {"enum": ["agent_server"], "description": "it is a cron of the Agent Server API"},
        "execution": {"type": "object", "description": "what it makes; secrets are `***`"},
    },
}
FIRING: Schema = {
    "type": "object",
    "required": ["number", "kind", "due_at", "at", "outcome", "passed_over"],
    "properties": {
        "number": _COUNT,
        "kind": {"enum": ["clock", "hand"]},
        "due_at": {**_TIME, "description": "the time that it fired for"},
        "at": {**_TIME, "description": "when it fired"},
        "outcome": {"enum": [one.value for one in FiringOutcome]},
        "passed_over": {**_COUNT, "description": "earlier times that did not fire; 1000 means that or more"},
        "execution_id": _TEXT,
        "phase": {"enum": [one.wire_name for one in Phase], "description": "of the execution now, unless it is gone"},
        "error_code": {**_TEXT, "description": "of the execution"},
        "code": {**_TEXT, "description": "why no execution was made"},
        "reason": _TEXT,
    },
}
COMING: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["at", "local"],
        "properties": {"at": _TIME, "local": {**_TIME, "description": "by the clocks of the schedule's time zone"}},
    },
}
SCHEDULE_PARTS: Mapping[str, Schema] = {"Schedule": SCHEDULE, "Firing": FIRING}
