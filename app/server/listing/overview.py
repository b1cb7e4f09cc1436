"""`GET /v1/overview`: workers, queues and the last hour, from the database, made once for all who ask.

Workers belong to no org. What waits, and the curves, are those of the caller's org; a key of no org sees all of them.
"""

from collections import OrderedDict
from typing import Any

from agent_runner.app.server.access.principal import acting_as, current
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.http.document.schemas import STRING, Schema, object_of
from agent_runner.app.server.http.shared_answer import Fresh
from agent_runner.app.server.listing.last_hour import LastHour
from agent_runner.app.server.runners.worker_states import state_of
from agent_runner.status.log.log import rfc3339
from agent_runner.status.store.records import Worker
from agent_runner.status.store.turns.taking_turns import OrgStanding

MAX_ORGS = 64
"""Curves are kept for so many orgs. Another one's are read anew."""
MAX_WORKERS = 200


class Overviews:
    """`shown()` is the overview for the caller, at most a second old."""

    def __init__(self, ctx: ServerContext) -> None:
        self._ctx = ctx
        self._answers: OrderedDict[str, Fresh[dict[str, Any]]] = OrderedDict()

    async def shown(self) -> dict[str, Any]:
        principal = current()
        fresh = self._answers.get(principal.org)
        if fresh is None:
            hour, of_org = LastHour(), principal

            async def make() -> dict[str, Any]:
                with acting_as(of_org):
                    return await self._made(hour)

            fresh = Fresh(make, for_s=self._ctx.settings.health_fresh_s, soon=self._ctx.outliving)
            self._answers[principal.org] = fresh
            while len(self._answers) > MAX_ORGS:
                self._answers.popitem(last=False)
        self._answers.move_to_end(principal.org)
        return await fresh.get()

    async def _made(self, hour: LastHour) -> dict[str, Any]:
        store, org = self._ctx.store, current().org
        now = await store.now()
        silent_before = now - self._ctx.settings.timeouts.heartbeat_s
        workers = [_worker(worker, silent_before) for worker in await store.workers()]
        workers.sort(key=lambda shown: not shown["online"])
        hour.take(now, await store.runs_since(hour.since(now), org=org))
        ages = {age.queue: age for age in await store.queue_ages(org=org)}
        turns: dict[str, list[dict[str, Any]]] = {}
        for one in await store.turn_standings(org=org) if self._ctx.settings.turns.on else ():
            turns.setdefault(one.queue, []).append(_turn(one))
        served = {str(shown["queue"]) for shown in workers if shown["online"] and shown["role"] == "worker"}
        return {
            "workers": workers[:MAX_WORKERS],
            "failedStarts": [
                {"queue": one.queue, "role": one.role, "at": rfc3339(one.at), "text": one.text}
                for one in await store.startup_failures()
            ],
            "queues": [
                {
                    "name": name,
                    "waiting": ages[name].waiting if name in ages else 0,
                    "oldestWaitingSeconds": round(ages[name].oldest_s, 3) if name in ages else 0,
                }
                | ({"turns": turns[name]} if name in turns else {})
                for name in sorted(served | ages.keys() | turns.keys())
            ],
            "lastHour": hour.as_json(now),
        }


def _turn(one: OrgStanding) -> dict[str, Any]:
    return {
        "org": one.org,
        "waiting": one.ready,
        "oldestWaitingSeconds": round(one.oldest_s, 3),
        "published": one.published,
        "underWay": one.under_way,
    }


def _worker(worker: Worker, silent_before: float) -> dict[str, Any]:
    state = state_of(worker, silent_before)
    return {
        "id": worker.name or worker.incarnation,
        "incarnation": worker.incarnation,
        "role": worker.role,
        "queue": worker.queue,
        "slots": worker.slots,
        "busy": worker.busy,
        "online": state == "online",
        "state": state,
        "lastSeen": rfc3339(worker.last_seen_at),
        "loopLagSeconds": round(worker.loop_lag_s, 3),
    }


_WHOLE: Schema = {"type": "integer", "minimum": 0}
_SECONDS: Schema = {"type": ["number", "null"], "minimum": 0}
_AT: Schema = {"type": "string", "format": "date-time"}


def _all(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_LONGEST: Schema = {"type": "number", "minimum": 0}
_QUEUE = object_of(name=STRING, waiting=_WHOLE, oldestWaitingSeconds=_LONGEST)
_QUEUE["properties"]["turns"] = {
    **_all(object_of(org=STRING, waiting=_WHOLE, oldestWaitingSeconds=_LONGEST, published=_WHOLE, underWay=_WHOLE)),
    "description": "where orgs take turns: what of each waits for its turn, is on the broker, and has not ended",
}
OVERVIEW: Schema = object_of(
    workers=_all(
        object_of(
            id=STRING, incarnation=STRING, role=STRING, queue=STRING, slots=_WHOLE, busy=_WHOLE,
            online={"type": "boolean"}, state={"enum": ["online", "silent", "disconnected", "gone"]}, lastSeen=_AT,
            loopLagSeconds={"type": "number"},
        )
    ),
    failedStarts=_all(object_of(queue=STRING, role=STRING, at=_AT, text=STRING)),
    queues=_all(_QUEUE),
    lastHour=object_of(
        bucketSeconds=_WHOLE,
        started={**_all(_WHOLE), "description": "each minute; the last one has just begun"},
        ended={"type": "object", "additionalProperties": _all(_WHOLE)},
        **dict.fromkeys(("waitP50Seconds", "waitP95Seconds", "runP50Seconds"), _all(_SECONDS)),
    ),
)  # fmt: skip
