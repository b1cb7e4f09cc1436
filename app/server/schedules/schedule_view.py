"""Schedules and their firings as answers show them."""

from typing import Any

from agent_runner.status.log.log import rfc3339
from agent_runner.status.schedules.schedule import Firing, Schedule

Json = dict[str, Any]


def schedule_json(one: Schedule) -> Json:
    """`execution` as it is kept: without its secrets, `***` in their place."""
    rules = one.rules
    shown: Json = {
        "id": one.id,
        "org": one.org,
        "name": one.name,
        "state": one.state,
        "timezone": rules.timezone or "UTC",
        "max_firings": rules.max_firings,
        "catch_up": rules.catch_up.value,
        "catch_up_limit": rules.catch_up_limit,
        "grace_s": rules.grace_s,
        "overlap": rules.overlap.value,
        "session_id": one.session_id,
        "paused": one.paused,
        "fired": one.fired,
        "revision": one.revision,
        "made_by": one.made_by,
        "execution": one.request,
        "created_at": rfc3339(one.created_at),
        "updated_at": rfc3339(one.updated_at),
    }
    shown |= {"cron": rules.cron} if rules.cron else {"at": [rfc3339(at) for at in rules.at]}
    if one.edge:
        shown["api"] = one.edge
    if one.ended.value:
        shown["ended"] = one.ended.value
    times = {"next_at": one.next_at, "last_fired_at": one.last_fired_at, "end_time": rules.end_at}
    return shown | {name: rfc3339(at) for name, at in times.items() if at is not None}


def firing_json(one: Firing) -> Json:
    """`phase`: of the execution, as it is now; missing if there was none or it is removed."""
    shown: Json = {
        "number": one.number,
        "kind": one.kind,
        "due_at": rfc3339(one.due_at),
        "at": rfc3339(one.at),
        "outcome": one.outcome.value,
        "passed_over": one.passed_over,
    }
    told = {"execution_id": one.execution_id, "code": one.code, "reason": one.reason, "error_code": one.error_code}
    if one.phase is not None:
        told["phase"] = one.phase.wire_name
    return shown | {name: value for name, value in told.items() if value}
