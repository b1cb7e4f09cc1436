"""The bodies of requests about crons, and a cron as this API shows it."""

from typing import Any, Literal

from agent_runner.app.server.agent_server.offsets import iso
from agent_runner.app.server.agent_server.path_ids import Uuid
from agent_runner.app.server.agent_server.refusals import unprocessable
from agent_runner.app.server.agent_server.request_bodies import Body, Limit, Offset
from agent_runner.app.server.agent_server.runs.run_bodies import RunCreate
from agent_runner.app.server.agent_server.uuids import cron_uuid, thread_uuid
from agent_runner.app.server.problems import Problem
from agent_runner.app.server.schedules.schedule_bodies import End, Expression, Text, TimesBody, rules_of, times_of
from agent_runner.status.schedules.catch_up import first_after
from agent_runner.status.schedules.schedule import Rules, Schedule

Json = dict[str, Any]
Shown = Literal["cron_id", "assistant_id", "thread_id", "on_run_completed", "end_time", "schedule", "timezone",
                "created_at", "updated_at", "user_id", "payload", "next_run_date", "metadata", "enabled"]  # fmt: skip
TIMES = {"schedule": "cron", "timezone": "timezone", "end_time": "end_time"}
"""Fields of a cron, and the schedule's."""
NO_CRON = ("command", "checkpoint", "checkpoint_id", "if_not_exists", "on_disconnect", "on_completion", "after_seconds",
           "feedback_keys")  # fmt: skip
"""Fields of a run that a cron has not; they are ignored, as all fields that this API does not know."""


class CronPatch(RunCreate):
    """What is left out stays as it is. `end_time` empty or null: none."""

    assistant_id: str = ""
    schedule: Text | None = None
    timezone: Text | None = None
    end_time: End | None = None
    enabled: bool | None = None
    on_run_completed: Literal["delete", "keep"] | None = None


class CronCreate(CronPatch):
    assistant_id: str
    schedule: Expression


PATCH_FORM: Json = {
    **CronPatch.model_json_schema(),
    "anyOf": [{"required": [name]} for name in CronPatch.model_fields],
    "description": "one of these fields at least",
}
"""As `/openapi.json` describes it: a patch without any field that is known is refused."""


class CronCount(Body):
    assistant_id: Uuid | None = None
    thread_id: Uuid | None = None
    metadata: Json | None = None


class CronSearch(CronCount):
    enabled: bool | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: (
        Literal["cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"] | None
    ) = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[Shown] | None = None


def payload_of(sent: CronPatch) -> Json:
    """What was sent, as the cron keeps and shows it."""
    given = sent.model_dump(mode="json", exclude_unset=True, exclude=set(NO_CRON))
    return {name: value for name, value in given.items() if value is not None}


def cron_rules(sent: CronPatch, before: Rules) -> Rules:
    """Raises UNPROCESSABLE for an expression, a zone or a time that cannot be read."""
    given = {ours: getattr(sent, name) for name, ours in TIMES.items() if name in sent.model_fields_set}
    try:
        return rules_of(TimesBody(**given), before)
    except Problem as problem:
        raise unprocessable(problem.detail) from None


def cron_json(one: Schedule, now: float) -> Json:
    request = one.request
    config = request.get("config") or {}
    configurable = {**(config.get("configurable") or {}), "cron_id": cron_uuid(one.id)}
    next_at = first_after(one.rules, times_of(one.rules), now)[0] if one.paused else one.next_at
    return {
        "cron_id": cron_uuid(one.id),
        "assistant_id": request["assistant_id"],
        "thread_id": thread_uuid(one.session_id) if one.session_id else None,
        "user_id": "",
        "end_time": iso(one.rules.end_at),
        "schedule": one.rules.cron,
        "timezone": one.rules.timezone or None,
        "payload": {**request, "config": {**config, "configurable": configurable}},
        "next_run_date": iso(next_at),
        "metadata": request.get("metadata") or {},
        "on_run_completed": None if one.session_id else request.get("on_run_completed", "delete"),
        "enabled": not one.paused,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
    }
