"""Requests that once did harm, each by itself: what `make fuzz` found, and why it is refused or shown as it is."""

import json
import math
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2, command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.contract.texts import MAX_INDEXED
from agent_runner.status.log.plain import MAX_DEPTH
from agent_runner.status.store.run_records import Claimed
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc
from tests.unit.server.conftest import AUTHORIZED, Worker, created
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True

QUERY = "/ai.stigmer.agentic.agentexecution.v1.AgentExecutionQueryController"


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


@pytest.mark.parametrize("method", [f"{QUERY}/get", "/agent_runner.v1.Runner/claim", "/grpc.health.v1.Health/Check"])
async def test_bytes_that_are_no_message(channel: grpc.aio.Channel, method: str) -> None:
    """INVALID_ARGUMENT on every service, not an error of the server's; who has no key learns nothing of it."""
    call: Any = channel.unary_unary(method)
    error = await refused(call(b"\xff\xff", metadata=AUTHORIZED))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not a message" in str(error.details())
    if "health" not in method:
        assert (await refused(call(b"\xff\xff"))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_bytes_that_are_no_message_in_a_stream(channel: grpc.aio.Channel) -> None:
    """The same when they come in the middle of a stream."""
    presence: Any = channel.stream_stream("/agent_runner.v1.Runner/presence")
    call = presence(metadata=AUTHORIZED)
    hello = pb.PresenceRequest(hello=pb.Hello(incarnation="w1", queue="q", role="worker"))
    await call.write(hello.SerializeToString())
    assert await call.read()
    await call.write(b"\xff\xff")
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_method_of_health_that_is_not_served(channel: grpc.aio.Channel) -> None:
    """What the library declares and does not serve is UNIMPLEMENTED, and Check goes on."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    unserved: Any = channel.unary_unary("/grpc.health.v1.Health/List")
    assert (await refused(unserved(b""))).code() is grpc.StatusCode.UNIMPLEMENTED
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("message", b""),
        ("message", b"\xff"),
        ("message", b"[]"),
        ("message", b'{"content": "without an id"}'),
        ("message", b'{"id": "a", "content": 5}'),
        ("message", b'{"id": "a", "metadata": {"x": NaN}}'),
        ("message", b'{"id": "a", "metadata": {"x": 1e999}}'),
        ("message", b'{"id": "a", "content": "\\ud800"}'),
        ("message", b'{"id": "a", "metadata": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
        ("todos", b'{"todos": {"a": 1}}'),
        ("tool_call", b'{"id": "t", "component": {"metadata": 4}}'),
        ("phase", b'{"phase": "EXECUTION_COMPLETED"}'),
        ("merge", b'{"status": {}}'),
    ],
)
async def test_a_delta_that_could_not_be_shown(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, worker: Worker, kind: str, payload: bytes
) -> None:
    """It is refused whole, and the execution and the list of all can be read as before."""
    claimed = await worker.claim((await created(http))["metadata"]["id"])
    delta = pb.Delta(kind=kind, payload=payload)
    for call in (append(channel, claimed, delta), settle(channel, claimed, delta)):
        assert (await refused(call)).code() is grpc.StatusCode.INVALID_ARGUMENT
    entries = (await http.get("/v1/executions")).json()["entries"]
    assert [entry["status"]["phase"] for entry in entries] == ["EXECUTION_IN_PROGRESS"]


def append(channel: grpc.aio.Channel, claimed: Claimed, *deltas: pb.Delta) -> Any:
    runner: Any = runner_pb2_grpc.RunnerStub(channel)
    assert claimed.execution is not None
    run = pb.RunDeltas(handle=claimed.execution.handle, fence=claimed.execution.fence, first=0, deltas=deltas)
    return runner.append(pb.AppendRequest(runs=[run]), metadata=AUTHORIZED)


def settle(channel: grpc.aio.Channel, claimed: Claimed, *deltas: pb.Delta, phase: int = 3, **given: Any) -> Any:
    runner: Any = runner_pb2_grpc.RunnerStub(channel)
    assert claimed.execution is not None
    handle, fence = claimed.execution.handle, claimed.execution.fence
    request = pb.SettleRequest(handle=handle, fence=fence, first=0, deltas=deltas, phase=phase, **given)
    return runner.settle(request, metadata=AUTHORIZED)


@pytest.mark.parametrize(
    ("phase", "given"),
    [(0, {}), (2, {}), (9, {}), (4, {}), (4, {"code": "E999"}), (4, {"code": "E301", "facts_json": "[]"})],
)
async def test_an_end_that_is_none(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, worker: Worker, phase: int, given: dict[str, str]
) -> None:
    """A settle without an end, without a known code or with facts that are none is refused; the run goes on."""
    claimed = await worker.claim((await created(http))["metadata"]["id"])
    error = await refused(settle(channel, claimed, phase=phase, **given))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await settle(channel, claimed)).accepted


async def test_arguments_as_deep_as_a_worker_tells_them(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, worker: Worker
) -> None:
    """One execution with them is listed, read and followed over gRPC: what is too deep for a message is JSON text."""
    id = (await created(http))["metadata"]["id"]
    claimed = await worker.claim(id)
    args = json.loads('{"a":' * MAX_DEPTH + '"the ground"' + "}" * MAX_DEPTH)
    payload = {"id": "t", "name": "n", "status": "TOOL_CALL_RUNNING", "component": {"metadata": args}, "args": args}
    await append(channel, claimed, pb.Delta(kind="tool_call", payload=json.dumps(payload).encode()))
    assert (await http.get(f"/v1/executions/{id}")).json()["status"]["tool_calls"][0]["args"] == args
    query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
    (listed,) = (await query.list(io_pb2.ListAgentExecutionsRequest(), metadata=AUTHORIZED)).entries
    assert "the ground" in str(listed.status.tool_calls[0].args)
    watch: Any = channel.unary_stream("/agent_runner.v1.Executions/watch")
    call = watch(b"\x0a" + bytes([len(id)]) + id.encode(), metadata=AUTHORIZED)
    assert b"the ground" in await call.read()
    call.cancel()


async def test_a_status_that_json_has_no_words_for(http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    """NaN in a struct and a time after the year 9999 are refused by updateStatus."""
    id = (await created(http))["metadata"]["id"]
    stub: Any = command_pb2_grpc.AgentExecutionCommandControllerStub(channel)
    for value in (math.nan, math.inf):
        update = command_pb2.AgentExecutionUpdateStatusInput(execution_id=id)
        update.status.messages.add(content="c").metadata["n"] = value
        assert (
            await refused(stub.updateStatus(update, metadata=AUTHORIZED))
        ).code() is grpc.StatusCode.INVALID_ARGUMENT
    update = command_pb2.AgentExecutionUpdateStatusInput(execution_id=id)
    update.status.audit.spec_audit.created_at.seconds = 2**60
    assert (await refused(stub.updateStatus(update, metadata=AUTHORIZED))).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_names_that_no_index_can_hold(http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    """They are refused by name; a database that cannot take them would look as if it were away."""
    long = "x" * (MAX_INDEXED + 1)
    runner: Any = runner_pb2_grpc.RunnerStub(channel)
    error = await refused(runner.begin(pb.BeginRequest(execution_id="a", incarnation=long), metadata=AUTHORIZED))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "incarnation" in str(error.details())
    for body in ({"message": "a", "org": long}, {"message": "a", "org": "a\0b"}):
        assert (
            "metadata.org"
            in assert_problem(await http.post("/v1/executions", json=body), 400, "INVALID_ARGUMENT")["detail"]
        )
    answer = await http.post("/v1/executions", json={"message": "a"}, headers={"Idempotency-Key": long})
    assert_problem(answer, 400, "INVALID_ARGUMENT")


async def test_a_beat_that_is_no_number(http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    """A loop that lags by NaN seconds is refused, and the workers can still be listed."""
    runner: Any = runner_pb2_grpc.RunnerStub(channel)
    for lag_s in (math.nan, math.inf):
        error = await refused(runner.beat(pb.BeatRequest(incarnation="w", loop_lag_s=lag_s), metadata=AUTHORIZED))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await http.get("/v1/workers")).status_code == 200


@pytest.mark.parametrize(
    "report",
    [{"signal": 65}, {"signal": -5}, {"signal": 10**30}, {"signal": "9"}, {"incarnation": "a\0"}, {"startup": 1}],
)
async def test_an_exit_that_is_none(http: httpx.AsyncClient, report: dict[str, Any]) -> None:
    """A signal that no system has, a number in quotes, a NUL character: 400, not an error of the server's."""
    assert_problem(await http.post("/v1/runner/exits", json={"incarnation": "w", **report}), 400, "INVALID_ARGUMENT")


async def test_an_exit_ends_no_other_process(http: httpx.AsyncClient, worker: Worker) -> None:
    """The incarnation of a report is a name, not a pattern: `%` means the process that is called so."""
    id = (await created(http))["metadata"]["id"]
    await worker.claim(id, "w1.child")
    for name in ("%", "w_", "%1"):
        report = {"incarnation": name, "signal": 9}
        assert (await http.post("/v1/runner/exits", json=report)).json() == {"ended": []}
    assert (await http.post("/v1/runner/exits", json={"incarnation": "w1", "signal": 9})).json() == {"ended": [id]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"message": "a", "timeouts": {"heartbeat_s": 1' + b"0" * 400 + b"}}",
        b'{"input": 1e999}',
        b'{"input": NaN}',
        b'{"input": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"input": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"input": ' + b"[" * 100_000 + b"}",
        '{"message": "a"}'.encode("utf-16"),
    ],
)
async def test_json_that_could_not_be_written_again(http: httpx.AsyncClient, body: bytes) -> None:
    """A problem that says so, and nothing is stored."""
    answer = await http.post("/v1/executions", content=body)
    assert_problem(answer, 400, "INVALID_ARGUMENT")
    assert (await http.get("/v1/executions")).json()["total"] == 0


@pytest.mark.parametrize(
    ("metadata", "spec"),
    [
        ([], {"instructions": "0123456789"}),
        ("", {"instructions": "0123456789"}),
        ({"owner_scope": "2"}, {"instructions": "0123456789"}),
        ({"owner_scope": 2, "ownerScope": 2}, {"instructions": "0123456789"}),
        ({"owner_scope": 2, "tags": "abc"}, {"instructions": "0123456789"}),
        ({"owner_scope": 2, "labels": {"a": "b\0"}}, {"instructions": "0123456789"}),
        ({"owner_scope": 2}, {"instructions": "0123456789", "mcp_servers": [{"name": "m", "http": []}]}),
    ],
)
async def test_protobuf_json_by_its_rules(http: httpx.AsyncClient, metadata: Any, spec: Any) -> None:
    """A list is no empty message, "2" no number of an enum, one field has one spelling: 400 that names the field."""
    metadata = {**metadata, "name": "a"} if isinstance(metadata, dict) else metadata
    body = {"api_version": "agentic.stigmer.ai/v1", "kind": "Agent", "metadata": metadata, "spec": spec}
    answer = assert_problem(await http.post("/v1/agents", json=body), 400, "INVALID_ARGUMENT")
    assert answer["violations"]


async def test_the_contract_form_needs_its_message(http: httpx.AsyncClient) -> None:
    """An AgentExecution without a spec is refused even where a graph says what is to run."""
    body = {
        "api_version": "agentic.stigmer.ai/v1",
        "kind": "AgentExecution",
        "metadata": {"annotations": {"agent-runner/graph": "g"}},
    }
    answer = assert_problem(await http.post("/v1/executions", json=body), 400, "INVALID_ARGUMENT")
    assert "spec.message" in answer["detail"]


async def test_the_built_in_agent_keeps_to_the_contract(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Its sub-agents have fields of the contract only."""
    await created(http)
    (agent,) = (await http.get("/v1/agents", params={"view": "full"})).json()["entries"]
    assert {name for sub in agent["spec"]["sub_agents"] for name in sub} == {"name", "description", "instructions"}
