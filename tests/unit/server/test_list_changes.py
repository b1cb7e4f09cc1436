"""Who watches a list is told what changed in it: soon, once, at most once a second, and of his own org only."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from agent_runner.app.server.access.principal import SERVER, acting_as
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.listing.change_feed import EVERY_S, KEPT, LATELY_S, ChangeFeeds
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.store.lists.queries import ExecutionQuery
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import id_of, key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


async def until(probe: Callable[[], Any], *, what: str) -> None:
    """Waits on the loop, on which the server under test runs too."""
    try:
        async with asyncio.timeout(40):
            while not probe():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within 40 s: {what}") from None


@asynccontextmanager
async def late() -> AsyncIterator[list[float]]:
    """How late, in seconds, the loop comes to what is due: so late may an event be read on a machine full of work."""
    found: list[float] = [0.0]

    async def look() -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            found.append(time.monotonic() - due)

    looking = asyncio.create_task(look())
    try:
        yield found
    finally:
        looking.cancel()


@dataclass
class Watched:
    """What one reader was told so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def phases(self, id: str) -> list[str]:
        return [row["phase"].removeprefix("EXECUTION_") for row in self.rows if row["id"] == id]

    def take(self, event: str, data: Any) -> None:
        if event == "rows":
            self.rows += data["executions"]
            self.at.append(time.monotonic())
        else:
            self.counts.append({name: n for name, n in data["phases"].items() if n})


@asynccontextmanager
async def watching(http: httpx.AsyncClient, **params: Any) -> AsyncIterator[Watched]:
    told, begun = Watched(), asyncio.Event()

    async def read() -> None:
        async with http.stream("GET", "/v1/executions/changes", params=params) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            event = ""
            async for line in answer.aiter_lines():
                begun.set()
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    told.take(event, json.loads(line.removeprefix("data: ")))

    task = asyncio.create_task(read())
    try:
        await asyncio.wait_for(begun.wait(), 20)
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_life_is_told(http: httpx.AsyncClient, worker: Worker) -> None:
    """A new execution, its start and its end come as rows, each once, and the counts with them."""
    before = (await created(http))["metadata"]["id"]
    async with watching(http) as told:
        id = (await created(http, message="watch me"))["metadata"]["id"]
        await until(lambda: told.phases(id) == ["PENDING"], what="the new row")
        claimed = await worker.claim(id)
        await until(lambda: told.phases(id) == ["PENDING", "IN_PROGRESS"], what="the start")
        await worker.settle(claimed, number=0)
        await until(lambda: told.phases(id)[-1] == "COMPLETED", what="the end")
        await until(lambda: told.counts[-1:] == [{"EXECUTION_PENDING": 1, "EXECUTION_COMPLETED": 1}], what="the counts")
        assert told.phases(id) == ["PENDING", "IN_PROGRESS", "COMPLETED"]
        assert len(told.phases(before)) <= 1, "what did not change is not told again"
        row = next(row for row in told.rows if row["id"] == id)
        assert row["message"] == "watch me"


async def test_only_what_matches_is_told(http: httpx.AsyncClient, worker: Worker) -> None:
    """By the same filters as the list; but a row that leaves by its phase is told too, so that it can be dropped."""
    async with watching(http, q="needle", phase="PENDING") as told:
        other = (await created(http, message="hay"))["metadata"]["id"]
        id = (await created(http, message="a needle"))["metadata"]["id"]
        await worker.claim(other)
        await worker.claim(id)
        await until(lambda: told.phases(id)[-1:] == ["IN_PROGRESS"], what="the row that left")
        assert not told.phases(other)
    assert_problem(await http.get("/v1/executions/changes", params={"phase": "x"}), 400, "INVALID_ARGUMENT")


async def test_many_changes_are_few_events(http: httpx.AsyncClient, worker: Worker) -> None:
    """What happens within a second is one event."""
    async with watching(http) as told, late() as latest:
        ids = [(await created(http))["metadata"]["id"] for _ in range(20)]
        for id in ids:
            await worker.settle(await worker.claim(id), number=0)
        done = [["COMPLETED"]] * len(ids)
        await until(lambda: [told.phases(id)[-1:] for id in ids] == done, what="all ends")
    least_s = 0.8 * EVERY_S - max(latest)
    assert all(after - before >= least_s for before, after in zip(told.at, told.at[1:], strict=False))
    assert len(told.at) < len(ids)


async def test_another_servers_changes(settings: Settings, http: httpx.AsyncClient, server: RunningServer) -> None:
    """What happened at another server of the same database is told, with and without its wake-up."""
    async with watching(http) as told, running_server(settings) as other, http_client(other) as elsewhere:
        id = (await created(elsewhere))["metadata"]["id"]
        await until(lambda: told.phases(id) == ["PENDING"], what="a new one of the other server")
        settled = await other.ctx.store.request_cancel(id, "nobody")  # the store alone wakes nobody
        assert settled is not None
        await until(lambda: told.phases(id) == ["PENDING", "CANCELLED"], what="its end without a wake-up")


async def test_an_org_is_told_of_its_own(server: RunningServer, http: httpx.AsyncClient) -> None:
    """Rows and counts of another org never come, whatever is asked for."""
    of_a, of_b = await key(server, "execute", org="a"), await key(server, "read", org="b")
    async with (
        http_client(server, of_a) as a,
        http_client(server, of_b) as b,
        watching(a) as told,
        watching(b) as others,
        watching(b, org="a") as asking,
    ):
        id = (await created(a))["metadata"]["id"]
        await until(lambda: told.phases(id) == ["PENDING"], what="a's own row")
        await until(lambda: told.counts[-1:] == [{"EXECUTION_PENDING": 1}], what="a's own counts")
        assert not others.rows
        assert not asking.rows
        assert not any(others.counts + asking.counts)


async def test_a_revoked_key_hears_no_more(server: RunningServer, http: httpx.AsyncClient) -> None:
    """Its stream ends with the next change."""
    reader = await key(server, "read")
    async with http_client(server, reader) as one, one.stream("GET", "/v1/executions/changes") as answer:
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith(":")
        assert (await http.delete(f"/v1/keys/{id_of(reader)}")).status_code == 200
        await created(http)
        async with asyncio.timeout(20):
            with contextlib.suppress(httpx.RemoteProtocolError):
                async for _ in lines:
                    pass


async def test_readers_of_a_list_share_its_reads(server: RunningServer, http: httpx.AsyncClient) -> None:
    """Ten who watch the same list are one feed, which ends with the last of them."""
    feeds = ChangeFeeds(server.ctx, server.ctx)
    with acting_as(SERVER):
        readers = [feeds.stream(ExecutionQuery()) for _ in range(10)]
        for reader in readers:
            assert (await anext(reader)).startswith(":")
        assert len(feeds) == 1
        for reader in readers:
            await reader.aclose()
    assert len(feeds) == 0


async def test_who_falls_behind_begins_again(server: RunningServer, http: httpx.AsyncClient) -> None:
    """A reader who has lost frames is not told half of the changes: his stream ends."""
    feeds = ChangeFeeds(server.ctx, server.ctx)
    with acting_as(SERVER):
        reader, other = feeds.stream(ExecutionQuery()), feeds.stream(ExecutionQuery())
        await anext(reader)
        await anext(other)
        (feed,) = feeds._feeds.values()
        await until(lambda: feed.counts, what="the first counts")
        assert "counts" in await anext(reader)
        for _ in range(KEPT + 2):
            feed._tell("event: rows\ndata: {}\n\n")
        with pytest.raises(StopAsyncIteration):
            await anext(reader)
        fresh = feeds.stream(ExecutionQuery())
        await anext(fresh)
        assert "counts" in await anext(fresh)
        assert "rows" in await anext(fresh), f"a new reader gets what was told in the last {LATELY_S:g} s"
        await fresh.aclose()
        await other.aclose()
