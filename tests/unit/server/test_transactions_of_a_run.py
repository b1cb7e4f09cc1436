"""What a run costs the database: transactions are counted at the store, whoever asks for them."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.app.server.agent_server.uuids import execution_of
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.executions.placement import BUILT_IN_SLUG
from agent_runner.app.server.webhooks import webhook_sender
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Phase
from agent_runner.status.store.store import Store
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc
from tests.support.statements import preparations, statements
from tests.unit.server.conftest import AUTHORIZED, created, http_client, sse
from tests.unit.server.test_run_tokens import TOKEN

MOST = 8
TOKENS, SLOTS = 20, 16


@pytest.fixture
async def quiet(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningServer]:
    """A server that does nothing by itself while the test counts."""
    monkeypatch.setattr(webhook_sender, "EVERY_S", 600.0)
    async with running_server(settings.model_copy(update={"sweep_interval_s": 600.0})) as server:
        yield server


class Counted:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._before = self._now()

    def _now(self) -> tuple[int, int]:
        return self._store.outages.transactions, self._store.hops

    @property
    def transactions(self) -> int:
        return self._now()[0] - self._before[0]

    @property
    def hops(self) -> int:
        return self._now()[1] - self._before[1]


def text(number: int) -> pb.Delta:
    return pb.Delta(kind="text", payload=json.dumps({"id": "a1", "text": f"token {number} "}).encode())


class Slots:
    """A worker with runs in some of its slots."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = runner_pb2_grpc.RunnerStub(channel)
        self._runs: list[pb.ClaimReply] = []
        self._first = 0

    async def take(self, id: str) -> None:
        its: Any = {"execution_id": id, "incarnation": "w1"}
        begin = pb.BeginRequest(begin_id="b", new_thread_id="t", **its)
        assert (await self._stub.begin(begin, metadata=AUTHORIZED)).done
        request = pb.ClaimRequest(claim_id="c", run_token=TOKEN, **its)
        self._runs.append(await self._stub.claim(request, metadata=AUTHORIZED))

    async def say(self, count: int) -> None:
        told = [text(n) for n in range(count)]
        runs = [
            pb.RunDeltas(handle=run.handle, fence=run.fence, first=self._first, deltas=told, run_token=TOKEN)
            for run in self._runs
        ]
        reply = await self._stub.append(pb.AppendRequest(runs=runs), metadata=AUTHORIZED)
        assert [one.verdict for one in reply.runs] == [pb.GO_ON] * len(runs)
        self._first += count

    async def beat(self) -> None:
        runs = [pb.RunBeat(handle=run.handle, fence=run.fence, run_token=TOKEN) for run in self._runs]
        reply = await self._stub.beat(pb.BeatRequest(incarnation="w1", runs=runs), metadata=AUTHORIZED)
        assert [one.verdict for one in reply.runs] == [pb.GO_ON] * len(runs)

    async def end(self) -> None:
        for run in self._runs:
            its: Any = {"handle": run.handle, "fence": run.fence, "first": self._first, "run_token": TOKEN}
            settled = await self._stub.settle(pb.SettleRequest(phase=int(Phase.COMPLETED), **its), metadata=AUTHORIZED)
            assert settled.accepted


async def test_a_run_is_eight_transactions_at_most(quiet: RunningServer) -> None:
    """From the message in an existing session to the end, with 20 tokens in two appends: each verb is one transaction,
    and none is handed to a thread of the store (SQLite)."""
    async with http_client(quiet) as http, grpc.aio.insecure_channel(f"127.0.0.1:{quiet.grpc_port}") as channel:
        before, first = Slots(channel), await one(http, "")
        await before.take(first["metadata"]["id"])
        await before.end()
        session = first["spec"]["session_id"]
        counted = Counted(quiet.ctx.store)
        run = await one(http, session)
        accepted = counted.transactions
        slots = Slots(channel)
        await slots.take(run["metadata"]["id"])
        await slots.say(TOKENS // 2)
        await slots.say(TOKENS // 2)
        await slots.end()
    assert counted.hops == 0
    assert counted.transactions - accepted <= 5
    assert counted.transactions <= MOST


async def test_who_follows_a_new_run_reads_nothing(quiet: RunningServer) -> None:
    """A request that creates a run and follows it to its end costs the transactions of the run alone, and gets every
    row: the snapshot is what was written, the rows come from memory."""
    told: list[tuple[str, str, Any]] = []
    async with http_client(quiet) as http, grpc.aio.insecure_channel(f"127.0.0.1:{quiet.grpc_port}") as channel:
        before, first = Slots(channel), await one(http, "")
        await before.take(first["metadata"]["id"])
        await before.end()
        counted, slots = Counted(quiet.ctx.store), Slots(channel)
        body = {"message": "hello", "session_id": first["spec"]["session_id"]}
        accept = {"Accept": "text/event-stream"}
        async with http.stream("POST", "/v1/executions", json=body, headers=accept) as answer:
            async for text in answer.aiter_text():
                told += sse(text)
                if len(told) == 1:
                    await slots.take(told[0][2]["execution"]["metadata"]["id"])
                    await slots.say(TOKENS)
                    await slots.end()
        spent = counted.transactions
    assert [event for event, *_ in told] == ["snapshot", *["update"] * (TOKENS + 2), "end"]
    assert [int(id) for _, id, _ in told[:-1]] == list(range(2, TOKENS + 5))
    assert spent <= MOST - 1  # one append less than below


async def test_the_stream_of_the_sdk_reads_nothing_back(quiet: RunningServer) -> None:
    """The same for `runs.stream` of LangGraph's SDK: neither the log nor the run is read for its reader."""
    path = f"/threads/{uuid.uuid4()}/runs/stream"
    said = {"messages": [{"role": "user", "content": "hello"}]}
    body = {"assistant_id": BUILT_IN_SLUG, "input": said, "stream_mode": ["messages-tuple"], "if_not_exists": "create"}
    taken = False
    async with http_client(quiet) as http, grpc.aio.insecure_channel(f"127.0.0.1:{quiet.grpc_port}") as channel:
        slots = Slots(channel)
        with statements(quiet.ctx.store) as seen:
            async with http.stream("POST", path, json=body) as answer:
                assert answer.status_code == 200
                async for part in answer.aiter_text():
                    if not taken:
                        taken = True
                        ((_, _, metadata),) = sse(part.replace("\r\n", "\n"))
                        await slots.take(execution_of(metadata["run_id"]))
                        await slots.end()
            read = [one for one in seen if one.startswith("SELECT")]
    assert taken
    assert [one for one in read if "weighed" in one or "executions.id =" in one] == []


async def test_no_statement_of_a_run_is_prepared_again(quiet: RunningServer) -> None:
    """SQLite makes the program of a statement once for each connection, whatever values are bound to it later."""
    async with http_client(quiet) as http, grpc.aio.insecure_channel(f"127.0.0.1:{quiet.grpc_port}") as channel:
        session = ""
        with preparations(quiet.ctx.store) as prepared:
            for _ in range(3):  # without a session, in one that has had one execution, and again
                prepared.clear()
                run, slots = await one(http, session), Slots(channel)
                await slots.take(run["metadata"]["id"])
                await slots.say(TOKENS)
                await slots.end()
                session = run["spec"]["session_id"]
    assert prepared == []


async def test_a_new_session_is_stored_with_its_execution(quiet: RunningServer) -> None:
    """A message alone is four transactions until it is published: agent, instance, session and execution, stamp."""
    async with http_client(quiet) as http:
        await one(http, "")  # the built-in agent is made
        counted = Counted(quiet.ctx.store)
        run = await one(http, "")
        assert counted.transactions == 4
        shown = await http.get(f"/v1/sessions/{run['spec']['session_id']}")
        assert shown.json()["metadata"]["id"] == run["spec"]["session_id"]


async def test_slots_do_not_multiply_transactions(quiet: RunningServer) -> None:
    """What sixteen runs say at once is one transaction, and so is their heartbeat."""
    async with http_client(quiet) as http, grpc.aio.insecure_channel(f"127.0.0.1:{quiet.grpc_port}") as channel:
        slots = Slots(channel)
        for _ in range(SLOTS):
            await slots.take((await one(http, ""))["metadata"]["id"])
        counted = Counted(quiet.ctx.store)
        await slots.say(TOKENS)
        assert counted.transactions == 1
        await slots.beat()
        await asyncio.sleep(0)
        assert counted.transactions - 1 <= 2  # the process's key is looked up first
        await slots.end()


async def one(http: httpx.AsyncClient, session: str) -> dict[str, Any]:
    return await created(http, **({"session_id": session} if session else {}))
