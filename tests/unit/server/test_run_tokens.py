"""A runner key acts for what was claimed with it: run tokens, and worker processes that belong to keys."""

from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Phase
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc
from tests.unit.server.conftest import AUTHORIZED, created, http_client
from tests.unit.server.identity import bearer, code_of, key
from tests.unit.server.test_limits import changed

SHARES_A_SERVER = True

TOKEN, OTHER = b"t" * 16, b"o" * 16
Deltas = list[pb.Delta]


class Runner:
    """A worker that speaks the runner service with one key."""

    def __init__(self, server: RunningServer, channel: grpc.aio.Channel, metadata: Any, incarnation: str) -> None:
        self.stub: Any = runner_pb2_grpc.RunnerStub(channel)
        self.server, self.metadata, self.incarnation = server, metadata, incarnation

    async def claim(self, id: str, token: bytes, claim_id: str = "") -> pb.ClaimReply:
        await self.server.ctx.store.dispatched(id)
        begin = pb.BeginRequest(execution_id=id, begin_id=f"b-{id}", incarnation=self.incarnation)
        if (await self.stub.begin(begin, metadata=self.metadata)).granted:
            done = pb.DoneRequest(execution_id=id, begin_id=f"b-{id}", thread_id="t")
            await self.stub.done(done, metadata=self.metadata)
        claimed: pb.ClaimReply = await self.again(id, token, claim_id)
        return claimed

    async def again(self, id: str, token: bytes, claim_id: str = "") -> Any:
        request = pb.ClaimRequest(
            execution_id=id, claim_id=claim_id or f"c-{id}", incarnation=self.incarnation, run_token=token
        )
        return await self.stub.claim(request, metadata=self.metadata)

    async def append(self, run: pb.ClaimReply, token: bytes, deltas: Deltas, first: int = 0) -> int:
        told = pb.RunDeltas(handle=run.handle, fence=run.fence, first=first, deltas=deltas, run_token=token)
        reply = await self.stub.append(pb.AppendRequest(runs=[told]), metadata=self.metadata)
        return int(reply.runs[0].verdict)

    async def beat(self, run: pb.ClaimReply, token: bytes) -> int:
        told = pb.RunBeat(handle=run.handle, fence=run.fence, run_token=token)
        request = pb.BeatRequest(incarnation=self.incarnation, runs=[told])
        reply = await self.stub.beat(request, metadata=self.metadata)
        ((handle, fence, verdict),) = [(v.handle, v.fence, v.verdict) for v in reply.runs]
        assert (handle, fence) == (run.handle, run.fence)
        return int(verdict)

    async def hand_back(self, run: pb.ClaimReply, token: bytes) -> bool:
        request = pb.HandBackRequest(handle=run.handle, fence=run.fence, first=0, reason="x", run_token=token)
        return bool((await self.stub.handBack(request, metadata=self.metadata)).accepted)

    async def settle(self, run: pb.ClaimReply, token: bytes, first: int = 0) -> bool:
        request = pb.SettleRequest(
            handle=run.handle, fence=run.fence, first=first, phase=int(Phase.COMPLETED), run_token=token
        )
        return bool((await self.stub.settle(request, metadata=self.metadata)).accepted)


@pytest_asyncio.fixture(loop_scope="module")
async def owner(server: RunningServer, channel: grpc.aio.Channel) -> Runner:
    return Runner(server, channel, bearer(await key(server, "runner")), "w1")


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(server: RunningServer, channel: grpc.aio.Channel) -> Runner:
    return Runner(server, channel, bearer(await key(server, "runner")), "w2")


@pytest_asyncio.fixture(loop_scope="module")
async def id(http: httpx.AsyncClient) -> str:
    return str((await created(http))["metadata"]["id"])


MESSAGE = pb.Delta(kind="message", payload=b'{"id": "a1", "content": "hello"}')


@pytest.mark.parametrize("token", [b"", OTHER, TOKEN[:-1], TOKEN + b"t"])
async def test_what_a_stranger_tells_of_a_run_changes_nothing(
    http: httpx.AsyncClient, owner: Runner, stranger: Runner, id: str, token: bytes
) -> None:
    """Append, beat, hand-back and settle with the right numbers and without the token: as for a run that is not his."""
    run = await owner.claim(id, TOKEN)
    assert run.granted
    before = (await http.get(f"/v1/executions/{id}")).json()
    assert await stranger.append(run, token, [MESSAGE]) == pb.FENCED_OUT
    assert await stranger.beat(run, token) == pb.FENCED_OUT
    assert not await stranger.hand_back(run, token)
    assert not await stranger.settle(run, token)
    assert (await http.get(f"/v1/executions/{id}")).json() == before
    assert await owner.append(run, TOKEN, [MESSAGE]) == pb.GO_ON
    assert await owner.beat(run, TOKEN) == pb.GO_ON
    assert await owner.settle(run, TOKEN, first=1)
    assert await owner.settle(run, TOKEN, first=1), "the same again: its answer may have been lost"
    assert not await stranger.settle(run, token, first=1)


async def test_a_hand_back_needs_the_token_and_ends_it(owner: Runner, stranger: Runner, id: str) -> None:
    """The next owner has a token of his own; the old one is worth nothing then."""
    first = await owner.claim(id, TOKEN)
    assert await owner.hand_back(first, TOKEN)
    assert await owner.hand_back(first, TOKEN), "the same again"
    second = await stranger.again(id, OTHER, "another claim")
    assert second.granted
    assert second.fence > first.fence
    assert await owner.append(second, TOKEN, []) == pb.FENCED_OUT
    assert await stranger.append(second, OTHER, [MESSAGE]) == pb.GO_ON


async def test_a_claim_that_is_repeated_shows_the_same_token(owner: Runner, stranger: Runner, id: str) -> None:
    """Else whoever learns its id gets the run's secrets."""
    run = await owner.claim(id, TOKEN)
    again = await owner.again(id, TOKEN)
    assert (again.granted, again.fence) == (True, run.fence)
    for token in (OTHER, TOKEN[::-1] + OTHER):
        refused = await stranger.again(id, token)
        assert (refused.granted, len(refused.env), refused.message) == (False, 0, "")


async def test_a_short_token_is_none(owner: Runner, id: str) -> None:
    """128 bits, or it could be tried."""
    code, text = await code_of(owner.claim(id, b"short"))
    assert (code, "run_token" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_workers_of_before_there_were_tokens(own_settings: Settings) -> None:
    """Refused with the name of the setting, unless it says that there are some of them; then they claim and report."""
    for allowed in (True, False):
        own = changed(own_settings, workers_without_token=True) if allowed else own_settings
        async with (
            running_server(own) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
            http_client(server) as http,
        ):
            old = Runner(server, channel, AUTHORIZED, f"old-{allowed}")
            id = (await created(http))["metadata"]["id"]
            if allowed:
                run = await old.claim(id, b"")
                assert await old.append(run, b"", [MESSAGE]) == pb.GO_ON
                assert await old.settle(run, b"", first=1)
                continue
            code, text = await code_of(old.claim(id, b""))
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert "AGENT_RUNNER_WORKERS_WITHOUT_TOKEN" in text
            assert (await old.again(id, TOKEN)).granted


async def test_the_token_is_kept_by_nobody(server: RunningServer, owner: Runner, id: str) -> None:
    """The store has a digest of it."""
    run = await owner.claim(id, TOKEN)
    digest = await server.ctx.store.run_token(run.handle, run.fence)
    assert digest
    assert len(digest) == 64
    assert TOKEN.decode() not in digest
    assert await server.ctx.store.run_token(run.handle, run.fence + 1) is None


async def hello(runner: Runner) -> Any:
    call = runner.stub.presence(metadata=runner.metadata)
    await call.write(pb.PresenceRequest(hello=pb.Hello(incarnation=runner.incarnation, queue="q", role="worker")))
    return call


async def test_a_worker_process_belongs_to_its_key(
    server: RunningServer, http: httpx.AsyncClient, owner: Runner, stranger: Runner, id: str
) -> None:
    """Another runner key cannot say hello, begin, claim, beat or report an exit in its name, nor of its children."""
    mine = await hello(owner)
    assert (await mine.read()).HasField("welcome")
    stranger.incarnation = owner.incarnation
    refused = await hello(stranger)
    assert await refused.code() is grpc.StatusCode.PERMISSION_DENIED
    stranger.incarnation = "w1.child-1"
    run = await owner.claim(id, TOKEN)
    for call in (stranger.claim(id, OTHER), stranger.again(id, OTHER), stranger.beat(run, OTHER)):
        assert (await code_of(call))[0] is grpc.StatusCode.PERMISSION_DENIED
    async with http_client(server, key=stranger.metadata[0][1].split()[1]) as other:
        for name in ("w1", "w1.child-1"):
            answer = await other.post("/v1/runner/exits", json={"incarnation": name, "signal": 9})
            assert answer.status_code == 403, answer.text
    assert await owner.beat(run, TOKEN) == pb.GO_ON
    async with http_client(server, key=owner.metadata[0][1].split()[1]) as own:
        answer = await own.post("/v1/runner/exits", json={"incarnation": "w1", "signal": 9})
    assert answer.json() == {"ended": [id]}
    mine.cancel()


async def test_a_stream_beats_for_its_own_process(owner: Runner) -> None:
    """Not for one that another key registered."""
    call = await hello(owner)
    assert await call.read()
    await call.write(pb.PresenceRequest(beat=pb.BeatRequest(incarnation="w9")))
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_key_of_the_environment_speaks_for_all(server: RunningServer, owner: Runner, id: str) -> None:
    """A supervisor with it may report the death of a worker that has a key of its own."""
    call = await hello(owner)
    assert await call.read()
    await owner.claim(id, TOKEN)
    async with http_client(server) as root:
        answer = await root.post("/v1/runner/exits", json={"incarnation": "w1", "signal": 9})
    assert answer.json() == {"ended": [id]}
    call.cancel()
