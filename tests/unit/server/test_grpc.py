"""The gRPC edge: every service is there, every call needs the key, errors have codes, streams end."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from agent_runner.ai.stigmer.agentic.agent.v1 import command_pb2_grpc as agent_command
from agent_runner.ai.stigmer.agentic.agent.v1 import io_pb2 as agent_io
from agent_runner.ai.stigmer.agentic.agent.v1 import query_pb2_grpc as agent_query
from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2, command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentExecutionStatus
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import (
    EXECUTION_CANCELLED,
    EXECUTION_COMPLETED,
    EXECUTION_PENDING,
)
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import io_pb2 as instance_io
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import query_pb2_grpc as instance_query
from agent_runner.ai.stigmer.agentic.session.v1 import io_pb2 as session_io
from agent_runner.ai.stigmer.agentic.session.v1 import query_pb2_grpc as session_query
from agent_runner.ai.stigmer.commons.apiresource.apiresourcekind.api_resource_kind_pb2 import ApiResourceKind
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import organization
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId, ApiResourceReference
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.grpc_api.execution_methods import execution_methods
from agent_runner.app.server.grpc_api.resource_methods import resource_methods
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import executions_pb2_grpc as own_grpc
from agent_runner.v1 import runner_pb2, runner_pb2_grpc
from tests.unit.server.conftest import AUTHORIZED, Worker

SHARES_A_SERVER = True

VERSION = "agentic.stigmer.ai/v1"
AGENT_KIND, SESSION_KIND, ORGANIZATION = ApiResourceKind.agent, ApiResourceKind.session, organization


class Client:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.command: Any = command_pb2_grpc.AgentExecutionCommandControllerStub(channel)
        self.query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
        self.own: Any = own_grpc.ExecutionsStub(channel)
        self.agents: Any = agent_command.AgentCommandControllerStub(channel)
        self.agent_query: Any = agent_query.AgentQueryControllerStub(channel)

    async def agent(self, name: str = "Code Helper") -> Agent:
        agent = Agent(api_version=VERSION, kind="Agent")
        agent.metadata.name, agent.metadata.owner_scope = name, ORGANIZATION
        agent.spec.instructions = "Help people with their code."
        made: Agent = await self.agents.create(agent, metadata=AUTHORIZED)
        return made

    async def execution(self, *, message: str = "hello", key: str = "", **spec: str) -> AgentExecution:
        execution = AgentExecution(api_version=VERSION, kind="AgentExecution")
        execution.metadata.name = "a run"
        execution.spec.message = message
        for name, value in spec.items():
            setattr(execution.spec, name, value)
        metadata = (*AUTHORIZED, *((("idempotency-key", key),) if key else ()))
        made: AgentExecution = await self.command.create(execution, metadata=metadata)
        return made

    async def pending(self) -> AgentExecution:
        return await self.execution(agent_id=(await self.agent()).metadata.id)


@pytest.fixture
def client(channel: grpc.aio.Channel) -> Client:
    return Client(channel)


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_reflection_lists_every_service(channel: grpc.aio.Channel, server: RunningServer) -> None:
    """Reflection, without a key, names all services of the contract, ours, health and itself."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for reply in stub.ServerReflectionInfo(iter([request])):
        listed = {service.name for service in reply.list_services_response.service}
    assert len([name for name in listed if name.startswith("ai.stigmer.")]) == 14
    assert {"agent_runner.v1.Executions", "agent_runner.v1.Runner", "grpc.health.v1.Health"} <= listed


async def test_health_is_open(channel: grpc.aio.Channel) -> None:
    """The standard health service answers SERVING without a key, for the server and for a service."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for name in ("", "agent_runner.v1.Runner", "ai.stigmer.agentic.session.v1.SessionQueryController"):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.promise("1.17")
@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),), (("authorization", "test-key"),)])
async def test_every_call_needs_the_key(client: Client, channel: grpc.aio.Channel, metadata: Any) -> None:
    """Unary and streaming calls of all services are UNAUTHENTICATED without the right key."""
    id = io_pb2.AgentExecutionId(value="aex-none")
    runner: Any = runner_pb2_grpc.RunnerStub(channel)
    calls = [
        client.query.get(id, metadata=metadata),
        client.query.subscribe(id, metadata=metadata).read(),
        client.own.watch(own.WatchRequest(execution_id="a"), metadata=metadata).read(),
        runner.claim(runner_pb2.ClaimRequest(execution_id="a"), metadata=metadata),
        runner.presence(iter([runner_pb2.PresenceRequest()]), metadata=metadata).read(),
    ]
    for call in calls:
        assert (await code_of(call))[0] is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.promise("1.12")
async def test_an_empty_id_is_invalid(client: Client, channel: grpc.aio.Channel, server: RunningServer) -> None:
    """get("") is INVALID_ARGUMENT with a text, for every kind."""
    sessions: Any = session_query.SessionQueryControllerStub(channel)
    instances: Any = instance_query.AgentInstanceQueryControllerStub(channel)
    for call in (
        client.query.get(io_pb2.AgentExecutionId(), metadata=AUTHORIZED),
        client.agent_query.get(agent_io.AgentId(), metadata=AUTHORIZED),
        sessions.get(session_io.SessionId(), metadata=AUTHORIZED),
        instances.get(instance_io.AgentInstanceId(), metadata=AUTHORIZED),
        client.command.delete(ApiResourceId(), metadata=AUTHORIZED),
    ):
        code, text = await code_of(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "value is required" in text


@pytest.mark.promise("1.01")
async def test_rules_are_named_in_the_status(client: Client) -> None:
    """create without version and kind is INVALID_ARGUMENT naming both values."""
    execution = AgentExecution()
    execution.metadata.name = "x"
    execution.spec.message = "x"
    code, text = await code_of(client.command.create(execution, metadata=AUTHORIZED))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert VERSION in text
    assert "AgentExecution" in text


async def test_codes_of_what_goes_wrong(client: Client) -> None:
    """NOT_FOUND, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, ALREADY_EXISTS: never UNKNOWN."""
    unknown = io_pb2.AgentExecutionId(value="aex-none")
    assert (await code_of(client.query.get(unknown, metadata=AUTHORIZED)))[0] is grpc.StatusCode.NOT_FOUND
    stream = client.query.subscribe(unknown, metadata=AUTHORIZED)
    assert (await code_of(stream.read()))[0] is grpc.StatusCode.NOT_FOUND
    assert (await code_of(client.execution()))[0] is grpc.StatusCode.INVALID_ARGUMENT
    agent = await client.agent()
    too_long = client.execution(message="x" * 10_001, agent_id=agent.metadata.id)
    assert (await code_of(too_long))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await code_of(client.agent()))[0] is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.promise("2.13")
async def test_create_get_list_delete(client: Client) -> None:
    """The way of an execution through the contract's calls."""
    made = await client.pending()
    assert made.status.phase == EXECUTION_PENDING
    assert made.spec.message == made.status.messages[0].content == "hello"
    got = await client.query.get(io_pb2.AgentExecutionId(value=made.metadata.id), metadata=AUTHORIZED)
    assert got == made
    assert got.status.audit.spec_audit.created_at.seconds > 0
    by_session = io_pb2.ListAgentExecutionsBySessionRequest(session_id=made.spec.session_id)
    for listed in (
        await client.query.list(io_pb2.ListAgentExecutionsRequest(), metadata=AUTHORIZED),
        await client.query.list(io_pb2.ListAgentExecutionsRequest(phase=EXECUTION_PENDING), metadata=AUTHORIZED),
        await client.query.listBySession(by_session, metadata=AUTHORIZED),
    ):
        assert [e.metadata.id for e in listed.entries] == [made.metadata.id]
        assert listed.total_pages == 1
    completed = io_pb2.ListAgentExecutionsRequest(phase=EXECUTION_COMPLETED)
    assert not (await client.query.list(completed, metadata=AUTHORIZED)).entries
    id = ApiResourceId(value=made.metadata.id)
    assert (await code_of(client.command.delete(id, metadata=AUTHORIZED)))[0] is grpc.StatusCode.FAILED_PRECONDITION
    reply = await client.own.cancel(own.CancelRequest(execution_id=made.metadata.id), metadata=AUTHORIZED)
    assert reply.phase == EXECUTION_CANCELLED
    assert (await client.command.delete(id, metadata=AUTHORIZED)).metadata.id == made.metadata.id
    assert (await code_of(client.command.delete(id, metadata=AUTHORIZED)))[0] is grpc.StatusCode.NOT_FOUND


async def test_idempotency_key_in_metadata(client: Client) -> None:
    """The metadata `idempotency-key` gives the same execution again."""
    agent_id = (await client.agent()).metadata.id
    first = await client.execution(agent_id=agent_id, key="k")
    second = await client.execution(agent_id=agent_id, key="k")
    assert first.metadata.id == second.metadata.id


async def test_pages_by_number_and_by_token(client: Client) -> None:
    """A page token is the one of the trailing metadata, or the page's number."""
    agent_id = (await client.agent()).metadata.id
    ids = [(await client.execution(agent_id=agent_id)).metadata.id for _ in range(5)]

    async def page(token: str) -> tuple[list[str], str]:
        call = client.query.list(io_pb2.ListAgentExecutionsRequest(page_size=2, page_token=token), metadata=AUTHORIZED)
        listed = await call
        assert not listed.entries or listed.total_pages == 3
        trailing = dict(await call.trailing_metadata())
        return [e.metadata.id for e in listed.entries], str(trailing.get("next-page-token", ""))

    first, token = await page("")
    second, _ = await page(token)
    assert first + second == ids[:0:-1]
    assert (await page("2"))[0] == second
    assert (await page("3")) == (ids[:1], "")
    assert (await page("4"))[0] == []


@pytest.mark.promise("1.80")
@pytest.mark.promise("2.01")
async def test_update_ignores_the_status(client: Client) -> None:
    """update() never changes the status; a change of what was accepted is refused."""
    made = await client.pending()
    forged = AgentExecution()
    forged.CopyFrom(made)
    forged.status.phase = EXECUTION_COMPLETED
    assert (await client.command.update(forged, metadata=AUTHORIZED)).status.phase == EXECUTION_PENDING
    id = io_pb2.AgentExecutionId(value=made.metadata.id)
    assert await client.query.get(id, metadata=AUTHORIZED) == made
    forged.spec.message = "something else"
    assert (await code_of(client.command.update(forged, metadata=AUTHORIZED)))[0] is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.promise("1.94")
async def test_update_status_of_a_foreign_runner(client: Client) -> None:
    """updateStatus takes id and status only, merges until the end, and is refused after it."""
    made = await client.pending()

    async def merge(status: AgentExecutionStatus) -> AgentExecution:
        given = command_pb2.AgentExecutionUpdateStatusInput(execution_id=made.metadata.id, status=status)
        merged: AgentExecution = await client.command.updateStatus(given, metadata=AUTHORIZED)
        return merged

    talking = AgentExecutionStatus()
    talking.messages.add(content="hello", type=1)
    talking.messages.add(content="working", type=2)
    assert [m.content for m in (await merge(talking)).status.messages] == ["hello", "working"]
    done = await merge(AgentExecutionStatus(phase=EXECUTION_COMPLETED))
    assert done.status.phase == EXECUTION_COMPLETED
    assert [m.content for m in done.status.messages] == ["hello", "working"]
    assert done.spec.message == "hello"
    code, _ = await code_of(merge(talking))
    assert code is grpc.StatusCode.FAILED_PRECONDITION


async def test_update_status_is_not_for_native_runs(client: Client, worker: Worker) -> None:
    """An execution that was claimed through the runner service refuses updateStatus."""
    made = await client.pending()
    await worker.claim(made.metadata.id)
    given = command_pb2.AgentExecutionUpdateStatusInput(
        execution_id=made.metadata.id, status=AgentExecutionStatus(phase=EXECUTION_COMPLETED)
    )
    code, text = await code_of(client.command.updateStatus(given, metadata=AUTHORIZED))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "compatible" in text


@pytest.mark.promise("1.82")
async def test_subscribe_shows_the_state_and_ends(client: Client, worker: Worker) -> None:
    """subscribe: the current state, changes, the terminal state always, then the stream ends."""
    made = await client.pending()
    stream = aiter(client.query.subscribe(io_pb2.AgentExecutionId(value=made.metadata.id), metadata=AUTHORIZED))
    assert await anext(stream) == made
    claimed = await worker.claim(made.metadata.id)
    for number in range(20):
        await worker.say(claimed, f"reply {number}", number=number)
    await worker.settle(claimed, number=20)
    seen = [state async for state in stream]
    assert 1 <= len(seen) <= 5
    assert seen[-1].status.phase == EXECUTION_COMPLETED
    assert len(seen[-1].status.messages) == 21
    again = client.query.subscribe(io_pb2.AgentExecutionId(value=made.metadata.id), metadata=AUTHORIZED)
    assert [state.status.phase async for state in again] == [EXECUTION_COMPLETED]


async def test_watch_is_the_log(client: Client, server: RunningServer, worker: Worker) -> None:
    """watch from 0 is a snapshot and the end, from a position the later rows; a position beyond is OUT_OF_RANGE."""
    made = await client.pending()
    claimed = await worker.claim(made.metadata.id)
    await worker.say(claimed, "said", number=0)
    watching = aiter(client.own.watch(own.WatchRequest(execution_id=made.metadata.id), metadata=AUTHORIZED))
    first = await anext(watching)
    assert first.snapshot.execution.status.messages[1].content == "said"
    await worker.settle(claimed, number=1)
    rows = await server.ctx.store.read_log(made.metadata.id)
    rest = [event async for event in watching]
    assert [e.update.seq for e in rest[:-1]] == [row.seq for row in rows if row.seq > first.snapshot.seq]
    assert (rest[-1].end.seq, rest[-1].end.phase) == (rows[-1].seq, EXECUTION_COMPLETED)
    request = own.WatchRequest(execution_id=made.metadata.id, from_seq=1)
    later = [event async for event in client.own.watch(request, metadata=AUTHORIZED)]
    assert [e.update.kind for e in later[:-1]] == [row.kind for row in rows[1:]]
    assert [e.update.phase for e in later[:-1]][-1] == EXECUTION_COMPLETED
    beyond = client.own.watch(own.WatchRequest(execution_id=made.metadata.id, from_seq=99), metadata=AUTHORIZED)
    assert (await code_of(beyond.read()))[0] is grpc.StatusCode.OUT_OF_RANGE


async def test_redrive(client: Client) -> None:
    """redrive answers a new pending execution with the same message."""
    made = await client.pending()
    request = own.RedriveRequest(execution_id=made.metadata.id)
    await client.own.cancel(own.CancelRequest(execution_id=made.metadata.id), metadata=AUTHORIZED)
    new = await client.own.redrive(request, metadata=AUTHORIZED)
    assert new.metadata.id != made.metadata.id
    assert new.spec == made.spec


@pytest.mark.promise("1.67")
async def test_references_by_slug(client: Client) -> None:
    """A resource is found by org, kind and slug; a wrong kind is INVALID_ARGUMENT, another org NOT_FOUND."""
    made = await client.agent()
    reference = ApiResourceReference(scope=ORGANIZATION, org="local", kind=AGENT_KIND, slug="code-helper")
    assert await client.agent_query.getByReference(reference, metadata=AUTHORIZED) == made
    for change, expected in (
        ({"kind": SESSION_KIND}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"slug": ""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"org": "other"}, grpc.StatusCode.NOT_FOUND),
        ({"slug": "other"}, grpc.StatusCode.NOT_FOUND),
    ):
        wrong = ApiResourceReference()
        wrong.CopyFrom(reference)
        for name, value in change.items():
            setattr(wrong, name, value)
        assert (await code_of(client.agent_query.getByReference(wrong, metadata=AUTHORIZED)))[0] is expected


@pytest.mark.promise("1.65")
async def test_sessions_and_instances_of_an_agent(client: Client, channel: grpc.aio.Channel) -> None:
    """From an execution lead session, instance and agent to each other, in both directions."""
    made = await client.pending()
    sessions: Any = session_query.SessionQueryControllerStub(channel)
    instances: Any = instance_query.AgentInstanceQueryControllerStub(channel)
    session = await sessions.get(session_io.SessionId(value=made.spec.session_id), metadata=AUTHORIZED)
    instance_id = instance_io.AgentInstanceId(value=session.spec.agent_instance_id)
    instance = await instances.get(instance_id, metadata=AUTHORIZED)
    assert instance.spec.agent_id == made.spec.agent_id
    of_agent = session_io.ListSessionsByAgentRequest(agent_id=made.spec.agent_id)
    assert list((await sessions.listByAgent(of_agent, metadata=AUTHORIZED)).entries) == [session]
    assert list((await sessions.list(session_io.ListSessionsRequest(), metadata=AUTHORIZED)).entries) == [session]
    by_agent = instance_io.GetAgentInstancesByAgentRequest(agent_id=made.spec.agent_id)
    listed = await instances.getByAgent(by_agent, metadata=AUTHORIZED)
    assert (listed.total_count, list(listed.items)) == (1, [instance])


async def test_apply_twice_changes_nothing_but_the_time(client: Client) -> None:
    """apply creates, then updates the same resource."""
    agent = Agent(api_version=VERSION, kind="Agent")
    agent.metadata.name, agent.metadata.owner_scope = "Twice", ORGANIZATION
    agent.spec.instructions = "Help people with their code."
    first = await client.agents.apply(agent, metadata=AUTHORIZED)
    second = await client.agents.apply(agent, metadata=AUTHORIZED)
    assert (first.metadata, first.spec) == (second.metadata, second.spec)
    assert first.status.default_instance_id == second.status.default_instance_id
    calls = (client.agents.apply(agent, metadata=AUTHORIZED) for _ in range(4))
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answer, grpc.aio.AioRpcError):  # changed in between by one of the others
            assert answer.code() is grpc.StatusCode.ABORTED


def test_no_method_is_left_out(server: RunningServer) -> None:
    """The tables bind 14 services of the contract and ours."""
    edges = Edges.of(server.ctx)
    assert len(resource_methods(edges)) == 12
    assert len(execution_methods(edges)) == 3
