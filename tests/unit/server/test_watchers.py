"""One watcher per execution and server: shared by all who follow it here, bounded, and held up by nobody (law L7)."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
import httpx
import pytest
from httpx_sse import aconnect_sse

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2
from agent_runner.ai.stigmer.agentic.agentexecution.v1.query_pb2_grpc import AgentExecutionQueryControllerStub
from agent_runner.app.server.access.principal import SERVER, acting_as
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.log_feed import follow as following
from agent_runner.app.server.log_feed import watchers
from agent_runner.app.server.log_feed.follow import Followed, Snapshot, Updates, follow
from agent_runner.app.server.log_feed.log_ends import End
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.run_records import Claimed, NewDelta
from agent_runner.status.store.store import Store
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc
from agent_runner.v1.executions_pb2_grpc import ExecutionsStub
from tests.support.statements import statements
from tests.unit.server.conftest import AUTHORIZED, Worker, created
from tests.unit.server.test_run_tokens import TOKEN

SHARES_A_SERVER = True

ROWS = 6


@pytest.fixture(autouse=True)
def as_the_server() -> Iterator[None]:
    with acting_as(SERVER):
        yield


async def until(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not probe():
            await asyncio.sleep(0.005)


async def running(http: httpx.AsyncClient, worker: Worker) -> tuple[str, Claimed]:
    id = str((await created(http))["metadata"]["id"])
    return id, await worker.claim(id)


@contextmanager
def small_window(monkeypatch: pytest.MonkeyPatch, *, rows: int, page: int) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(watchers, "KEPT_ROWS", rows)
        for module in (watchers, following):
            patch.setattr(module, "PAGE_ROWS", page)
        yield


def reads_of_executions(seen: Iterable[str]) -> list[str]:
    """What is read of one execution: its log, and its row by its id."""
    asked = [one for one in seen if one.startswith("SELECT")]
    return [one for one in asked if "execution_log" in one or "executions.id = " in one]


class Readers:
    """Clients on real sockets; `seen` is by reader the highest row that it has shown."""

    def __init__(self, http: httpx.AsyncClient, channel: grpc.aio.Channel, id: str) -> None:
        self._http, self._channel, self._id = http, channel, id
        self.seen: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []

    def add(self, of_each: int) -> None:
        for read in (self._sse, self._watch, self._subscribe):
            for _ in range(of_each):
                self.seen.append(0)
                self.tasks.append(asyncio.create_task(read(len(self.seen) - 1)))

    async def _sse(self, me: int) -> None:
        async with aconnect_sse(self._http, "GET", f"/v1/executions/{self._id}/events") as source:
            async for one in source.aiter_sse():
                self.seen[me] = one.json()["seq"]

    async def _watch(self, me: int) -> None:
        call: Any = ExecutionsStub(self._channel).watch(own.WatchRequest(execution_id=self._id), metadata=AUTHORIZED)
        async for one in call:
            self.seen[me] = getattr(one, one.WhichOneof("what")).seq

    async def _subscribe(self, me: int) -> None:
        """States carry no number; this log has one row a message, and two before the first."""
        stub: Any = AgentExecutionQueryControllerStub(self._channel)
        call = stub.subscribe(io_pb2.AgentExecutionId(value=self._id), metadata=AUTHORIZED)
        async for one in call:
            self.seen[me] = len(one.status.messages) + 2


@pytest.mark.promise("1.82")
@pytest.mark.parametrize("of_each", [1, 17])
async def test_the_reads_do_not_grow_with_the_readers(
    http: httpx.AsyncClient,
    channel: grpc.aio.Channel,
    server: RunningServer,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    of_each: int,
) -> None:
    """After their first reads, 51 readers over SSE, watch and subscribe cost what three do: what is new, once."""
    monkeypatch.setattr(watchers, "LOOK_EVERY_S", 600.0)  # only what was woken reads
    id, claimed = await running(http, worker)
    readers = Readers(http, channel, id)
    readers.add(of_each)
    await until(lambda: all(seq == 3 for seq in readers.seen))
    with statements(server.ctx.store) as seen:
        for number in range(ROWS):
            await worker.say(claimed, f"reply {number}", number=number)
            await until(lambda wanted=4 + number: all(seq == wanted for seq in readers.seen))  # type: ignore[misc]
    # Two statements for the rows, one for the facts that subscribe shows; a wake-up from before may add one look.
    read = reads_of_executions(seen)
    assert len(read) <= 3 * (ROWS + 1)
    assert len(read) >= 2 * ROWS
    await worker.settle(claimed, number=ROWS)
    await asyncio.wait_for(asyncio.gather(*readers.tasks), 20)
    await until(lambda: len(server.ctx.watchers) == 0)


async def test_a_slow_reader_holds_up_nobody_and_misses_nothing(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reader stops after its first row while others go on; what is kept stays small; then it gets every row."""
    id, claimed = await running(http, worker)
    with small_window(monkeypatch, rows=8, page=5):
        slow = follow(server.ctx, id, 0)
        got = [await anext(slow)]
        fast: list[Followed] = []
        reading = asyncio.create_task(taken(server, id, fast))
        for number in range(60):
            await worker.say(claimed, f"reply {number}", number=number)
        with server.ctx.watchers.watch(id) as watcher:
            await until(lambda: numbers(fast)[-1:] == [63])
            assert watcher.readers == 3
            assert len(watcher._rows) <= 8 + 5
            assert watcher.rows_after(5) is None
        await worker.settle(claimed, number=60)
        await asyncio.wait_for(reading, 20)
        got += [one async for one in slow]
    assert numbers(got) == list(range(1, 65))
    assert numbers(fast) == list(range(1, 65))
    assert isinstance(got[-1], End)


async def test_what_is_kept_is_bounded_in_bytes(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large rows push out the ones before them, and their reader gets them all the same."""
    monkeypatch.setattr(watchers, "KEPT_BYTES", 10_000)
    id, claimed = await running(http, worker)
    got: list[Followed] = []
    reading = asyncio.create_task(taken(server, id, got))
    for number in range(12):
        await worker.say(claimed, "x" * 4_000, number=number)
        await until(lambda wanted=4 + number: numbers(got)[-1:] == [wanted])  # type: ignore[misc]
    with server.ctx.watchers.watch(id) as watcher:
        assert watcher._bytes == sum(map(watchers._bytes, watcher._rows))
        assert len(watcher._rows) <= 3 + 1
    await worker.settle(claimed, number=12)
    await asyncio.wait_for(reading, 20)
    assert numbers(got) == list(range(1, 17))


async def test_who_comes_and_goes_at_any_time_gets_the_log(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers that begin anywhere, at any time, at any pace: each gets every later row once, in order, then the end."""
    chance = random.Random(7)
    id, claimed = await running(http, worker)
    with small_window(monkeypatch, rows=6, page=3):
        everybody: list[tuple[int | None, list[Followed], asyncio.Task[None]]] = []
        for number in range(40):
            await worker.say(claimed, f"reply {number}", number=number)
            if number % 2:
                after = chance.choice([None, 0, chance.randint(0, number + 4)])
                got: list[Followed] = []
                task = asyncio.create_task(taken(server, id, got, after=after, pace_s=chance.choice([0, 0, 0.002])))
                everybody.append((after, got, task))
            if number % 7 == 3:
                chance.choice(everybody)[2].cancel()
        await worker.settle(claimed, number=40)
        await asyncio.wait_for(asyncio.gather(*(task for *_, task in everybody), return_exceptions=True), 20)
    whole = 0
    for after, got, task in everybody:
        first = got[0].seq if got and isinstance(got[0], Snapshot) else after
        assert first is not None or task.cancelled()
        if first is not None:
            seen = numbers(got)
            assert seen == list(range(first + 1, first + 1 + len(seen)))
            # A snapshot of the end has no rows after it.
            whole += not task.cancelled() and first + len(seen) == 44 and isinstance(got[-1], End)
    assert whole == sum(not task.cancelled() for *_, task in everybody) >= 10
    assert len(server.ctx.watchers) == 0


async def test_a_store_that_is_away_is_told_to_every_reader(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that fails ends all streams that wait for it; who comes back goes on where it was."""
    id, claimed = await running(http, worker)
    store = server.ctx.store
    got: list[list[Followed]] = [[], [], []]
    reading = [asyncio.create_task(taken(server, id, one)) for one in got]
    await until(lambda: all(numbers(one)[-1:] == [3] for one in got))
    with monkeypatch.context() as patch:

        async def away(*_: Any, **__: Any) -> Any:
            raise StoreUnavailable("away")

        patch.setattr(type(store), "read_log", away)
        server.ctx.wakeups.notify(id)
        ends = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), 20)
    assert [type(end) for end in ends] == [StoreUnavailable] * 3
    again = asyncio.create_task(taken(server, id, got[0], after=3))
    await worker.settle(claimed, number=0)
    await asyncio.wait_for(again, 20)
    assert numbers(got[0]) == [1, 2, 3, 4]


async def test_an_execution_that_is_gone_ends_its_streams(
    http: httpx.AsyncClient, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is withdrawn under its readers is NOT_FOUND to them, not a stream that is quiet for ever."""
    monkeypatch.setattr(watchers, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(watchers, "EXISTS_EVERY_S", 0.05)
    first = await created(http)
    id = (await created(http, session_id=first["spec"]["session_id"]))["metadata"]["id"]
    reading = asyncio.create_task(taken(server, id, []))
    await until(lambda: len(server.ctx.watchers) == 1)
    assert await server.ctx.store.withdraw(id)
    with pytest.raises(Problem) as told:
        await asyncio.wait_for(reading, 20)
    assert told.value.kind is Kind.NOT_FOUND


async def taken(
    server: RunningServer, id: str, into: list[Followed], *, after: int | None = 0, pace_s: float = 0.0
) -> None:
    """Follow to the end."""
    async with aclosing(follow(server.ctx, id, after)) as events:
        async for one in events:
            into.append(one)
            if pace_s:
                await asyncio.sleep(pace_s)


def numbers(events: list[Followed]) -> list[int]:
    """Of the rows that they brought."""
    return [row.seq for one in events if isinstance(one, Updates) for row in one.rows]


async def at_the_end(server: RunningServer, id: str, into: list[Followed]) -> "asyncio.Task[None]":
    """A reader that has all rows of an execution that was claimed: what it reads from now on comes from memory."""
    reading = asyncio.create_task(taken(server, id, into))
    await until(lambda: numbers(into)[-1:] == [3])
    return reading


async def test_what_is_taken_back_goes_from_what_is_kept(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker
) -> None:
    """Who begins further back after an edit gets the old row without its text, from memory as from the store (L7)."""
    id, claimed = await running(http, worker)
    got: list[Followed] = []
    reading = await at_the_end(server, id, got)
    await worker.say(claimed, "a private matter", number=0)
    await until(lambda: numbers(got)[-1:] == [4])
    execution = claimed.execution
    assert execution is not None
    edit = NewDelta(kind="message_edit", payload='{"id":"a0","content":"[redacted]"}')
    await server.ctx.store.append(execution.handle, execution.fence, 1, [edit])
    server.ctx.wakeups.notify(id)
    await until(lambda: numbers(got)[-1:] == [5])
    with server.ctx.watchers.watch(id) as watcher:
        kept = watcher.rows_after(3)
        assert list(kept or ()) == await server.ctx.store.read_log(id, 3)
        assert kept is not None
        assert [row.payload.get("content") for row in kept] == ["", "[redacted]"]
        assert watcher._bytes == sum(map(watchers._bytes, watcher._rows))
    await worker.settle(claimed, number=2)
    await asyncio.wait_for(reading, 20)


async def test_readers_at_the_same_row_share_what_is_made_of_it(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker
) -> None:
    """The text for readers is made once for all of them, and anew when there are newer rows."""
    id, claimed = await running(http, worker)
    got: list[Followed] = []
    reading = await at_the_end(server, id, got)
    await worker.say(claimed, "hello", number=0)
    await until(lambda: numbers(got)[-1:] == [4])
    made: list[int] = []

    def text(rows: Any) -> str:
        made.append(len(rows))
        return "".join(row.kind for row in rows)

    with server.ctx.watchers.watch(id) as watcher:
        first, second = watcher.rows_after(3), watcher.rows_after(3)
        assert first is not None
        assert first is second
        assert first.once(text) is first.once(text)
        assert made == [1]
        await worker.say(claimed, "and more", number=1)
        await until(lambda: numbers(got)[-1:] == [5])
        third = watcher.rows_after(3)
        assert third is not None
        assert third.once(text) == first.once(text) + "message"
    await worker.settle(claimed, number=2)
    await asyncio.wait_for(reading, 20)


async def test_rows_that_are_born_here_are_not_read_again(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker appends through this server goes to its readers from memory, as it stands in the store; the end,
    too."""
    monkeypatch.setattr(watchers, "LOOK_EVERY_S", 600.0)
    id = str((await created(http))["metadata"]["id"])
    stub: Any = runner_pb2_grpc.RunnerStub(channel)
    await stub.begin(pb.BeginRequest(execution_id=id, begin_id="b", incarnation="w"), metadata=AUTHORIZED)
    await stub.done(pb.DoneRequest(execution_id=id, begin_id="b", thread_id="t"), metadata=AUTHORIZED)
    got: list[Followed] = []
    reading = asyncio.create_task(taken(server, id, got))
    await until(lambda: numbers(got)[-1:] == [2])
    claim = pb.ClaimRequest(execution_id=id, claim_id="c", incarnation="w", run_token=TOKEN)
    with statements(server.ctx.store) as seen:
        run = await stub.claim(claim, metadata=AUTHORIZED)
        its: Any = {"handle": run.handle, "fence": run.fence, "run_token": TOKEN}
        for first in range(0, ROWS, 2):
            deltas = [pb.Delta(kind="text", payload=b'{"id":"a","text":"%d \xc3\xa9"}' % n) for n in (first, first + 1)]
            request = pb.AppendRequest(runs=[pb.RunDeltas(first=first, deltas=deltas, **its)])
            await stub.append(request, metadata=AUTHORIZED)
        await stub.settle(pb.SettleRequest(phase=3, first=ROWS, **its), metadata=AUTHORIZED)
        await asyncio.wait_for(reading, 20)
    assert [one for one in seen if "weighed" in one] == []
    rows = [row for one in got if isinstance(one, Updates) for row in one.rows]
    stored = await server.ctx.store.read_log(id, max_bytes=1 << 20)
    assert rows == stored
    assert [row.text for row in rows] == [row.text for row in stored]
    assert len(rows) == ROWS + 4
    assert isinstance(got[-1], End)


async def test_rows_that_are_born_put_off_the_look(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher looks, and wakes its readers for nothing, only when nothing came for `LOOK_EVERY_S`."""
    monkeypatch.setattr(watchers, "LOOK_EVERY_S", 0.4)
    id, claimed = await running(http, worker)
    got: list[Followed] = []
    reading = await at_the_end(server, id, got)
    times = [time.monotonic()]
    with statements(server.ctx.store) as seen:
        while times[-1] - times[0] < 5 * watchers.LOOK_EVERY_S:
            delta = NewDelta(kind="text", payload='{"id":"a","text":"."}')
            await server.ctx.store.append(claimed.execution.handle, 1, len(times) - 1, [delta])  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
            times.append(time.monotonic())
    if max(map(float.__sub__, times[1:], times)) < watchers.LOOK_EVERY_S:  # the machine did not stand still
        assert len(reads_of_executions(seen)) <= 1  # for the wake-up of the claim
    await asyncio.wait_for(asyncio.gather(worker.settle(claimed, number=len(times) - 1), reading), 20)
    assert numbers(got) == list(range(1, len(times) + 4))


async def test_rows_of_another_server_come_between(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, settings: Settings
) -> None:
    """Rows that another server has appended are read from the store, and those born here after them come in order."""
    id, claimed = await running(http, worker)
    execution = claimed.execution
    assert execution is not None
    got: list[Followed] = []
    reading = await at_the_end(server, id, got)
    other = Store.open(settings.database_url)
    for number in range(8):
        store = server.ctx.store if number % 2 else other
        delta = NewDelta(kind="text", payload=f'{{"id":"a","text":"{number}"}}')
        await store.append(execution.handle, execution.fence, number, [delta])
    server.ctx.wakeups.notify(id)
    await until(lambda: numbers(got) == list(range(1, 12)))
    await other.close()
    await worker.settle(claimed, number=8)
    await asyncio.wait_for(reading, 20)
    assert [row for one in got if isinstance(one, Updates) for row in one.rows] == await server.ctx.store.read_log(id)
