"""What anybody may ask costs the same however often it is asked; ages are those of the database's clock."""

import asyncio
import re
import time

import httpx
import pytest

from agent_runner.app.server.after_response import Soon
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.http.shared_answer import Fresh
from agent_runner.clients.settings.settings import Settings
from tests.support.statements import statements
from tests.unit.server.conftest import created, http_client

HOUR_S = 3600.0


@pytest.mark.parametrize(("path", "asks"), [("/readyz", "SELECT 1"), ("/metrics", "GROUP BY executions.phase")])
async def test_two_hundred_questions_cost_what_one_costs(settings: Settings, path: str, asks: str) -> None:
    """A hundred at once and a hundred one after the other: the database is asked once, all get the answer."""
    async with running_server(settings.model_copy(update={"health_fresh_s": 60.0})) as server:
        async with http_client(server, key="nobody's") as http:
            with statements(server.ctx.store) as seen:
                at_once = await asyncio.gather(*(http.get(path) for _ in range(100)))
                later = [await http.get(path) for _ in range(100)]
        answers = [*at_once, *later]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text for answer in answers}) == 1
        assert len([statement for statement in seen if asks in statement]) == 1


async def test_an_answer_is_made_anew_when_it_is_old() -> None:
    """One at a time; not the same again after its time; a failure is told to all who waited and is made anew too."""
    made, gate = 0, asyncio.Event()

    async def make() -> int:
        nonlocal made
        made += 1
        await gate.wait()
        if made == 2:
            raise OSError("away")
        return made

    fresh = Fresh(make, for_s=0, soon=Soon())
    waiting = [asyncio.create_task(fresh.get()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.set()
    assert await asyncio.gather(*waiting[1:]) == [1] * 4
    assert [type(one) for one in await asyncio.gather(fresh.get(), fresh.get(), return_exceptions=True)] == [
        OSError
    ] * 2
    assert await fresh.get() == 3


async def test_ages_are_told_by_the_database(
    http: httpx.AsyncClient, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose clock is an hour ahead, or behind, calls nobody silent and no execution old."""
    await created(http)
    who = {"name": "w1", "role": "runner", "hostname": "h", "version": "1", "queue": server.ctx.settings.runner_queue}
    await server.ctx.store.hello(incarnation="w1", pid=1, slots=2, **who)
    there = time.time
    for apart_s in (HOUR_S, -HOUR_S):
        monkeypatch.setattr(time, "time", lambda apart_s=apart_s: there() + apart_s)
        workers = (await http.get("/v1/workers")).json()["workers"]
        oldest = re.search(r"^agent_runner_oldest_open_seconds (\S+)$", (await http.get("/metrics")).text, re.MULTILINE)
        monkeypatch.setattr(time, "time", there)
        assert [one["state"] for one in workers] == ["online"]
        assert oldest is not None
        assert 0 < float(oldest[1]) < HOUR_S / 2


async def test_what_began_soon_has_ended_before_the_store_closes(settings: Settings) -> None:
    """It may still use the store; what would take too long is cancelled, and not left on the loop."""
    ends: list[str] = []

    async def short(server: RunningServer) -> None:
        await asyncio.sleep(0.1)
        await server.ctx.store.ping()
        ends.append("short")

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("endless")

    async with running_server(settings) as server:
        server.ctx.soon(short(server))
        server.ctx.soon(endless())
        await asyncio.sleep(0)
    assert ends == ["short", "endless"]
