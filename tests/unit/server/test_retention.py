"""Retention at the server: what a run takes, what it asks of the workers, and who may start one."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.maintenance import retention
from agent_runner.app.server.maintenance.retention import Report, Retention
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import key
from tests.unit.server.test_create import assert_problem

NOTHING = Report().as_json()


async def ended(http: httpx.AsyncClient, worker: Worker, **body: Any) -> dict[str, Any]:
    """An execution that a worker ran to its end."""
    execution = await created(http, **body)
    claimed = await worker.claim(execution["metadata"]["id"])
    await worker.say(claimed, "the answer", number=0)
    await worker.settle(claimed, number=1)
    return execution


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator["Queue"]:
    async with Redis.from_url(settings.redis_url) as redis:
        yield Queue(redis, settings.runner_queue)


class Queue:
    """The runner's queue, as the broker has it."""

    def __init__(self, redis: "Redis", name: str) -> None:
        self._redis, self._name = redis, name

    async def take(self) -> list[tuple[str, list[str]]]:
        """(task, arguments) of the removals that wait, oldest first; then the queue is empty."""
        raw = await self._redis.lrange(self._name, 0, -1)
        await self._redis.delete(self._name)
        messages = [json.loads(one) for one in raw]
        told = [(m["headers"]["task"], json.loads(base64.b64decode(m["body"]))[0]) for m in reversed(messages)]
        return [one for one in told if one[0] in ("CleanupSandbox", "PruneThread")]


async def run(http: httpx.AsyncClient, **given: Any) -> dict[str, Any]:
    answer = await http.post("/v1/retention", json=given)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_run_takes_what_has_ended(http: httpx.AsyncClient, worker: Worker) -> None:
    """With the setting's 30 days nothing of today; with 0 what has ended, and what still runs stays."""
    old = await ended(http, worker)
    young = await created(http)
    running = await created(http)
    claimed = await worker.claim(running["metadata"]["id"])
    assert await run(http) == NOTHING
    counted = await run(http, days=0, dry_run=True)
    assert (counted["executions"], counted["sessions"]) == (1, 1)
    assert counted["bytes"] > 0
    assert (await http.get(f"/v1/executions/{old['metadata']['id']}")).status_code == 200
    done = await run(http, days=0)
    assert done == {**counted, "unconfirmed": 2}  # its sandbox and its memory
    assert_problem(await http.get(f"/v1/executions/{old['metadata']['id']}"), 404, "NOT_FOUND")
    for execution in (young, running):
        assert (await http.get(f"/v1/executions/{execution['metadata']['id']}")).status_code == 200
    await worker.say(claimed, "I am still here", number=0)
    shown = (await http.get(f"/v1/executions/{running['metadata']['id']}")).json()
    assert "I am still here" in json.dumps(shown["status"])
    assert "agent_runner_executions_purged_total 1.0" in (await http.get("/metrics")).text


async def test_the_time_of_a_call_is_bounded(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose time is up says that there is more, and the next one goes on."""
    for _ in range(2):
        await ended(http, worker)
    cut = await Retention.of(server.ctx).run(0, within_s=0)
    assert cut.more
    assert cut.executions == 0
    monkeypatch.setattr(retention, "MAX_SESSIONS", 1)
    reports = [await run(http, days=0) for _ in range(2)]
    assert [r["executions"] for r in reports] == [2, 0]
    assert sum(r["sessions"] for r in reports) == 2
    assert not reports[-1]["more"]


@pytest.mark.promise("4.07")
async def test_a_deleted_session_is_published_until_it_is_confirmed(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, queue: Queue
) -> None:
    """At once, by ids alone; a message that got lost comes again with the next run; a confirmed one does not."""
    session = (await ended(http, worker))["spec"]["session_id"]
    both = [("CleanupSandbox", [session, session]), ("PruneThread", ["thread-1", ""])]
    await queue.take()
    assert (await http.delete(f"/v1/sessions/{session}")).status_code == 200
    assert await queue.take() == both
    assert (await run(http))["unconfirmed"] == 2
    assert await queue.take() == both
    await server.ctx.store.removed(sandbox_id=session)
    await run(http)
    assert await queue.take() == both[1:]
    await server.ctx.store.removed(thread_id="thread-1")
    assert (await run(http))["unconfirmed"] == 0
    assert await queue.take() == []


async def test_a_session_that_is_deleted_while_it_runs_is_left_alone(
    http: httpx.AsyncClient, worker: Worker, queue: Queue
) -> None:
    """Its sandbox is not removed under the run; the first run of the retention after the end asks for it."""
    execution = await created(http)
    session = execution["spec"]["session_id"]
    claimed = await worker.claim(execution["metadata"]["id"])
    await queue.take()
    await http.delete(f"/v1/sessions/{session}")
    await run(http)
    assert await queue.take() == []
    await worker.settle(claimed, number=0)
    assert (await run(http))["sessions"] == 1
    assert ("CleanupSandbox", [session, session]) in await queue.take()


async def test_an_idle_session_shows_its_new_sandbox(http: httpx.AsyncClient, worker: Worker, queue: Queue) -> None:
    """The session stays, with its thread; the old sandbox is asked for by its old name."""
    session = (await ended(http, worker))["spec"]["session_id"]
    await ended(http, worker, session_id=session)
    before = (await http.get(f"/v1/sessions/{session}")).json()["spec"]
    await queue.take()
    await run(http, days=0)
    assert await queue.take() == [("CleanupSandbox", [session, before["sandbox_id"]])]
    after = (await http.get(f"/v1/sessions/{session}")).json()["spec"]
    assert after["thread_id"] == before["thread_id"]
    assert after["sandbox_id"] != before["sandbox_id"]


async def test_a_session_of_one_execution_goes_with_it(http: httpx.AsyncClient, worker: Worker, queue: Queue) -> None:
    """Nobody comes back to what was made for one message: its sandbox and all of its memory are asked for."""
    session = (await ended(http, worker))["spec"]["session_id"]
    kept = (await http.get(f"/v1/sessions/{session}")).json()["spec"]
    await queue.take()
    await run(http, days=0)
    gone = [("CleanupSandbox", [session, kept["sandbox_id"]]), ("PruneThread", [kept["thread_id"], ""])]
    assert await queue.take() == gone
    assert_problem(await http.get(f"/v1/sessions/{session}"), 404, "NOT_FOUND")


class Away:
    """A broker that takes nothing."""

    async def publish_cleanup(self, *_: str) -> None:
        from agent_runner.clients.broker.publisher import PublishError

        raise PublishError("nobody listens")


async def test_a_broker_that_is_away_loses_nothing(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting the session succeeds, a run too; what could not be published is published when the broker is back."""
    session = (await ended(http, worker))["spec"]["session_id"]
    await queue.take()
    publisher = server.ctx.dispatcher._publisher  # type: ignore[attr-defined]
    monkeypatch.setattr(server.ctx.dispatcher, "_publisher", Away())
    assert (await http.delete(f"/v1/sessions/{session}")).status_code == 200
    assert (await run(http))["unconfirmed"] == 2
    monkeypatch.setattr(server.ctx.dispatcher, "_publisher", publisher)
    await run(http)
    assert [task for task, _ in await queue.take()] == ["CleanupSandbox", "PruneThread"]


async def test_the_server_does_it_by_itself(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, and a run that fails does not end that."""
    monkeypatch.setattr(retention, "FIRST_S", (0.0, 0.0))
    ctx = server.ctx
    runs = Retention(ctx.store, ctx.dispatcher, ctx.counted, days=0, queue="q", period_s=0.05)
    failed = asyncio.Event()
    whole = ctx.store.purge_skill_archives

    async def once_broken() -> int:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("this run fails")
        return await whole()

    monkeypatch.setattr(ctx.store, "purge_skill_archives", once_broken)
    runs.start()
    try:
        await asyncio.wait_for(failed.wait(), 20)
        execution = (await ended(http, worker))["metadata"]["id"]
        async with asyncio.timeout(20):
            while (await http.get(f"/v1/executions/{execution}")).status_code != 404:
                await asyncio.sleep(0.02)
    finally:
        await runs.stop()


async def test_who_may(server: RunningServer, http: httpx.AsyncClient) -> None:
    """A key with admin that belongs to no org; it takes what belongs to any."""
    for scopes, org in ((["execute"], ""), (["read"], ""), (["runner"], ""), (["admin"], "a")):
        async with http_client(server, key=await key(server, *scopes, org=org)) as other:
            assert_problem(await other.post("/v1/retention", json={"days": 0}), 403, "PERMISSION_DENIED")
    for given in ({"days": -1}, {"days": "x"}, {"dry": True}):
        assert_problem(await http.post("/v1/retention", json=given), 400, "INVALID_ARGUMENT")
