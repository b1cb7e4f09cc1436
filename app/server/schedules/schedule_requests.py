"""The execution that a schedule makes: kept without its secrets, which are sealed beside it, and made whole to fire.

A schedule made under `/v1` keeps the short form of an execution. One made by the Agent Server API keeps the body of a
run; `agent_server/items/cron_runs.py` makes that.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from agent_runner.app.server.access.principal import Principal
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.drafts.draft import SHORT_FIELDS, Draft, draft_of_json
from agent_runner.app.server.problems import invalid
from agent_runner.app.server.resources.sealing import REDACTED, Sealing
from agent_runner.status.api_keys import Scope
from agent_runner.status.log.log import rfc3339
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.schedules.schedule import Mark, Overlap, Schedule
from agent_runner.status.store.records import Execution

Json = dict[str, Any]
SCHEDULE, DUE_AT, FIRED_BY = "agent-runner/schedule", "agent-runner/due-at", "agent-runner/fired-by"
"""Annotations of an execution that a schedule made; the first is a label too."""
SECRET_FIELDS = ("env", "webhook")
NOT_HERE = {
    "org": "name it beside `execution`",
    "session_id": "name it beside `execution`",
    "answers": "nobody knows them beforehand",
}


class Maker(Protocol):
    """Makes the executions of the schedules of one API."""

    async def check(self, schedule: Schedule) -> None:
        """Raises a `Problem` for what a firing would be refused for now. Makes nothing."""

    async def make(self, schedule: Schedule, mark: Mark, *, fired_by: str, idempotency_key: str) -> Execution:
        """Raises a `Problem` for an execution that is refused, `FiringTaken`, and `SealBroken`."""


def principal_of(schedule: Schedule) -> Principal:
    """Whom its firings act for: its org, whichever key made it. The model was allowed when it was named."""
    name = f"schedule {schedule.id}"
    return Principal(name=name, scopes=frozenset({Scope.EXECUTE, Scope.MODEL}), org=schedule.org)


def apart(sealing: Sealing, request: Mapping[str, Any], before: Schedule | None) -> tuple[Json, bytes]:
    """(the request without its secrets, the secrets sealed). `***` in place of a secret keeps the one of `before`."""
    kept = _opened(sealing, before) if before is not None and _holds(request, REDACTED) else {}
    shown, secrets = dict(request), {}
    for name in SECRET_FIELDS:
        if not (given := request.get(name)):
            continue
        if isinstance(given, dict):
            own = kept[name] if isinstance(kept.get(name), dict) else {}
            secrets[name] = {key: own.get(key, value) if value == REDACTED else value for key, value in given.items()}
            shown[name] = dict.fromkeys(given, REDACTED)
        else:
            secrets[name] = kept.get(name, given) if given == REDACTED else given
            shown[name] = REDACTED
    if _holds(secrets, REDACTED):
        raise invalid("execution: a secret is '***', and nothing is stored under its name", next_step="Send the value.")
    return shown, sealing.seal(json.dumps(secrets).encode()) if secrets else b""


def whole(sealing: Sealing, schedule: Schedule) -> Json:
    """The request with its secrets. Raises `SealBroken`."""
    return {**schedule.request, **_opened(sealing, schedule)}


def _opened(sealing: Sealing, schedule: Schedule) -> Json:
    opened: Json = json.loads(sealing.open(schedule.sealed)) if schedule.sealed else {}
    return opened


def _holds(request: Mapping[str, Any], text: str) -> bool:
    secrets = [request.get(name) for name in SECRET_FIELDS]
    return any(text in one.values() if isinstance(one, dict) else one == text for one in secrets)


def facts_of(schedule: Schedule, mark: Mark, fired_by: str) -> dict[str, str]:
    """The annotations of the execution. One that was fired by hand was due at no time."""
    by = {FIRED_BY: fired_by} if mark.due_at is None else {DUE_AT: rfc3339(mark.fires_for)}
    return {SCHEDULE: schedule.id, **by}


class ShortForms:
    """Schedules of `/v1/schedules`."""

    def __init__(self, edges: Edges) -> None:
        self._edges, self._sealing = edges, edges.ctx.sealing

    async def check(self, schedule: Schedule) -> None:
        if unknown := sorted(schedule.request.keys() - (SHORT_FIELDS - NOT_HERE.keys())):
            told = [f"{name} ({NOT_HERE[name]})" if name in NOT_HERE else name for name in unknown]
            raise invalid(f"execution: {', '.join(told)} cannot stand here")
        await self._edges.executions.check(self._draft(schedule))

    async def make(self, schedule: Schedule, mark: Mark, *, fired_by: str, idempotency_key: str) -> Execution:
        draft = self._draft(schedule)
        metadata = draft.execution.metadata
        metadata.name = schedule.name
        metadata.tags.append(f"schedule:{schedule.id}")
        metadata.labels[SCHEDULE] = schedule.id
        for name, value in facts_of(schedule, mark, fired_by).items():
            metadata.annotations[name] = value
        draft = replace(draft, fired=mark, idempotency_key=idempotency_key)
        return (await self._edges.executions.create(draft)).execution

    def _draft(self, schedule: Schedule) -> Draft:
        body = {**whole(self._sealing, schedule), "org": schedule.org}
        overlap = schedule.rules.overlap
        if overlap is not Overlap.FRESH and schedule.session_id:
            body["session_id"] = schedule.session_id
        draft = draft_of_json(body)
        if overlap is Overlap.FRESH:
            return draft
        return replace(draft, multitask=Multitask(overlap.value), shares_session=True)
