"""The overview says who works, what waits and how the last hour went, at the same price however often one asks."""

import asyncio
from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.listing.last_hour import BUCKETS, LastHour, rank
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Phase
from agent_runner.status.store.lists.activity import RunTimes
from tests.support.statements import statements
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import key

SHARES_A_SERVER = True


async def overview(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/v1/overview")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def hello(server: RunningServer, queue: str) -> None:
    await server.ctx.store.hello(
        incarnation="w1", queue=queue, role="worker", hostname="h", pid=1, slots=4, name="worker@h", version="1"
    )


async def test_what_waits_and_who_works(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """Workers with their slots, queues with the age of what waits, failed starts with their text, the curves."""
    queue = server.ctx.settings.runner_queue
    await server.ctx.store.startup_failed("other", "worker", "no such module")
    await hello(server, queue)
    done = (await created(http))["metadata"]["id"]
    await worker.settle(await worker.claim(done), number=0)
    first, behind = (await created(http)), None
    behind = await created(http, session_id=first["spec"]["session_id"])
    assert behind
    shown = await overview(http)
    (one,) = shown["workers"]
    assert (one["id"], one["queue"], one["slots"], one["busy"], one["online"]) == ("worker@h", queue, 4, 0, True)
    assert shown["failedStarts"][0]["queue"] == "other"
    assert shown["failedStarts"][0]["text"] == "no such module"
    (waiting,) = shown["queues"]
    assert (waiting["name"], waiting["waiting"]) == (queue, 1), "what stands behind another one waits for no worker"
    assert waiting["oldestWaitingSeconds"] >= 0
    hour = shown["lastHour"]
    assert {len(hour[name]) for name in ("started", "waitP50Seconds", "waitP95Seconds", "runP50Seconds")} == {BUCKETS}
    assert (sum(hour["started"]), sum(hour["ended"]["COMPLETED"]), sum(hour["ended"]["FAILED"])) == (1, 1, 0)
    assert [value for value in hour["waitP50Seconds"] if value is not None]
    await server.ctx.store.exited("w1", "signal 9")
    assert [w["online"] for w in (await overview(http))["workers"]] == [False]


async def test_an_org_sees_its_own_hour(server: RunningServer, http: httpx.AsyncClient) -> None:
    """What waits and what ended in another org is not counted for it."""
    of_a, of_b = await key(server, "execute", org="a"), await key(server, "read", org="b")
    async with http_client(server, of_a) as a, http_client(server, of_b) as b:
        id = (await created(a))["metadata"]["id"]
        await created(a)
        await a.post(f"/v1/executions/{id}/cancel")
        mine, theirs = await overview(a), await overview(b)
        assert [q["waiting"] for q in mine["queues"]] == [1]
        assert sum(mine["lastHour"]["ended"]["CANCELLED"]) == 1
        assert theirs["queues"] == []
        assert sum(theirs["lastHour"]["ended"]["CANCELLED"]) == 0


async def test_asking_often_costs_the_same(settings: Settings, server: RunningServer, http: httpx.AsyncClient) -> None:
    """Many who ask at the same time share one reading."""
    with statements(server.ctx.store) as seen:
        await overview(http)
        alone = sum("startup_failures" in one for one in seen)
        before = len(seen)
        await asyncio.gather(*(overview(http) for _ in range(20)))
        together = sum("startup_failures" in one for one in seen[before:])
    assert alone == 1
    assert together < 20


def test_minutes_that_are_over_are_kept() -> None:
    """Only the newest minutes are read again; what was counted in a kept minute stays, also while it still runs."""
    hour, now = LastHour(), 100_000.0
    first = hour.since(now)
    assert now - 3600 <= first < now - 3480
    rows = [
        RunTimes(started_at=now - 1800, ended_at=now - 1200, phase=Phase.FAILED, wait_s=2.0),
        RunTimes(started_at=now - 1800, ended_at=None, phase=None, wait_s=4.0),
        RunTimes(started_at=None, ended_at=now - 10, phase=Phase.CANCELLED, wait_s=None),
    ]
    hour.take(now, rows)
    shown = hour.as_json(now)
    assert (sum(shown["started"]), sum(shown["ended"]["FAILED"]), sum(shown["ended"]["CANCELLED"])) == (2, 1, 1)
    assert [v for v in shown["waitP50Seconds"] if v is not None] == [2.0]
    assert [v for v in shown["waitP95Seconds"] if v is not None] == [4.0]
    assert [v for v in shown["runP50Seconds"] if v is not None] == [600.0]
    later = now + 120
    assert later - 240 < hour.since(later) <= now
    hour.take(later, [RunTimes(started_at=now - 1800, ended_at=later, phase=Phase.COMPLETED, wait_s=4.0)])
    shown = hour.as_json(later)
    assert (sum(shown["started"]), sum(shown["ended"]["COMPLETED"]), sum(shown["ended"]["FAILED"])) == (2, 1, 1)
    much_later = now + 7200
    hour.take(much_later, [])
    assert sum(hour.as_json(much_later)["started"]) == 0


@pytest.mark.parametrize(("part", "expected"), [(0.5, 5), (0.95, 10), (0.05, 1), (1.0, 10)])
def test_ranks(part: float, expected: float) -> None:
    """The nearest rank is one of the values; of none there is none."""
    assert rank(list(range(10, 0, -1)), part) == expected
    assert rank([], part) is None
