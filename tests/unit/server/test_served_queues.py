"""A key for workers that was made with queues speaks of the executions of these and of no others."""

from typing import Any

import grpc
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.status.phases import Phase
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.server.conftest import created, http_client
from tests.unit.server.identity import bearer, code_of, key
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_run_tokens import TOKEN, Runner

SHARES_A_SERVER = True
DENIED = grpc.StatusCode.PERMISSION_DENIED


async def serving(server: RunningServer, *queues: str, maker: str = "") -> str:
    async with http_client(server, **({"key": maker} if maker else {})) as http:
        made = await http.post("/v1/keys", json={"name": "served", "scopes": ["runner"], "queues": queues})
    assert made.status_code == 201, made.text
    assert made.json()["queues"] == sorted(queues)
    return str(made.json()["key"])


async def failing(runner: Runner, id: str, code: str = "E302") -> Any:
    return await runner.stub.fail(pb.FailRequest(execution_id=id, code=code), metadata=runner.metadata)


async def state(server: RunningServer, id: str) -> Phase:
    found = await server.ctx.store.get(id)
    assert found is not None
    return found.phase


async def test_work_of_other_queues(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """It is neither begun nor claimed nor failed, and no process registers for its queue."""
    async with http_client(server) as http:
        id = (await created(http))["metadata"]["id"]
    other = Runner(server, channel, bearer(await serving(server, "elsewhere")), "w1")
    begin = pb.BeginRequest(execution_id=id, begin_id="b", incarnation="w1")
    claim = pb.ClaimRequest(execution_id=id, claim_id="c", incarnation="w1", run_token=TOKEN)
    failed = pb.FailRequest(execution_id=id, code="E302")
    for call in (other.stub.begin(begin, metadata=other.metadata), other.stub.claim(claim, metadata=other.metadata),
                 other.stub.fail(failed, metadata=other.metadata)):  # fmt: skip
        code, text = await code_of(call)
        assert code is DENIED
        assert "elsewhere" in text
    hello = pb.PresenceRequest(hello=pb.Hello(incarnation="w1", queue=server.ctx.settings.runner_queue, role="worker"))
    presence = other.stub.presence(iter([hello]), metadata=other.metadata)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await presence.read()
    assert refused.value.code() is DENIED
    assert await state(server, id) is Phase.PENDING
    async with http_client(server, key=await serving(server, "elsewhere")) as theirs:
        report = {"execution_id": id, "code": "E302"}
        assert_problem(await theirs.post("/v1/runner/failures", json=report), 403, "PERMISSION_DENIED")
        started = {"queue": server.ctx.settings.runner_queue, "startup": True, "text": "no"}
        assert_problem(await theirs.post("/v1/runner/exits", json=started), 403, "PERMISSION_DENIED")


async def test_work_of_its_queue(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """It is claimed and failed; what another key's worker has claimed only the orchestrator's key ends besides."""
    queue, callbacks = server.ctx.settings.runner_queue, server.ctx.settings.orchestrator_queue
    mine, second = [Runner(server, channel, bearer(await serving(server, queue)), name) for name in ("w1", "w2")]
    orchestrator = Runner(server, channel, bearer(await serving(server, callbacks)), "o1")
    await server.ctx.store.hello(
        incarnation="w1", queue=queue, role="worker", hostname="h", pid=1, slots=1, name="w1", version="1",
        key_id=mine.metadata[0][1].split("_")[1], sandbox="",
    )  # fmt: skip
    async with http_client(server) as http:
        one, two, three = [(await created(http))["metadata"]["id"] for _ in range(3)]
    for id in (one, two):
        assert (await mine.claim(id, TOKEN)).granted
    assert (await code_of(failing(second, one)))[0] is DENIED
    assert (await failing(mine, one)).applied
    assert (await failing(orchestrator, two)).applied
    assert (await failing(second, three)).applied
    assert {await state(server, id) for id in (one, two, three)} == {Phase.FAILED}


async def test_who_serves_some_queues_makes_no_key_for_others(server: RunningServer) -> None:
    """What he does not name is his own; what is no runner's has no queues."""
    async with http_client(server) as http:
        made = await http.post(
            "/v1/keys", json={"name": "team", "scopes": ["admin", "runner"], "queues": ["ours", "theirs"]}
        )
        problem = await http.post("/v1/keys", json={"name": "n", "scopes": ["read"], "queues": ["ours"]})
        assert_problem(problem, 400, "INVALID_ARGUMENT")
    async with http_client(server, key=made.json()["key"]) as team:
        wider = await team.post("/v1/keys", json={"name": "n", "scopes": ["runner"], "queues": ["third"]})
        assert_problem(wider, 403, "PERMISSION_DENIED")
        same = await team.post("/v1/keys", json={"name": "n", "scopes": ["runner"]})
        assert same.json()["queues"] == ["ours", "theirs"]
    assert await serving(server, "ours", maker=made.json()["key"])


async def test_a_key_without_queues_serves_all(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """As before there were any."""
    runner = Runner(server, channel, bearer(await key(server, "runner")), "w1")
    async with http_client(server) as http:
        id = (await created(http))["metadata"]["id"]
    assert (await runner.claim(id, TOKEN)).granted
    assert (await failing(runner, id)).applied
