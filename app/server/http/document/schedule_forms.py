"""The bodies of requests about schedules in `/openapi.json`: the fields of `schedule_bodies.py`, and their rules."""

from typing import Any

from agent_runner.app.server.http.document.schemas import INPUT_FORM, MESSAGE_FORM
from agent_runner.app.server.schedules.schedule_bodies import NewSchedule, Preview, SchedulePatch
from agent_runner.app.server.schedules.schedule_requests import NOT_HERE

Schema = dict[str, Any]
_NO_CRON: Schema = {"properties": {"cron": {"maxLength": 0}}}
_NO_TIMES: Schema = {"properties": {"at": {"maxItems": 0}}}
_ONE_OF_BOTH: Schema = {
    "anyOf": [
        {"required": ["cron"], "properties": {**_NO_TIMES["properties"], "cron": {"type": "string", "pattern": r"\S"}}},
        {"required": ["at"], "properties": {**_NO_CRON["properties"], "at": {"type": "array", "minItems": 1}}},
    ]
}


def _made(form: Schema) -> Schema:
    """What a schedule makes: the short form without what stands beside it."""
    kept = {name: schema for name, schema in form["properties"].items() if name not in NOT_HERE}
    return {**form, "properties": kept}


_EXECUTION: Schema = {
    "anyOf": [_made(MESSAGE_FORM), _made(INPUT_FORM)],
    "description": "the execution to make, as the short form of `POST /v1/executions`, without `org`, `session_id`,"
    " `answers`",
}


def _with(schema: Schema, execution: Schema | None, rule: Schema) -> Schema:
    fields = schema["properties"] | ({} if execution is None else {"execution": execution})
    return {**schema, "properties": fields, **rule}


NEW_FORM = _with(NewSchedule.model_json_schema(), _EXECUTION, _ONE_OF_BOTH)
PATCH_FORM = _with(
    SchedulePatch.model_json_schema(),
    {**_EXECUTION, "anyOf": [*_EXECUTION["anyOf"], {"type": "null"}]},
    {"anyOf": [_NO_TIMES, _NO_CRON]},
)
PREVIEW_FORM = _with(Preview.model_json_schema(), None, _ONE_OF_BOTH)
