"""The contract's clients on a real server: deadlines, repetition, references, and what is refused before it is sent."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool

from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentExecutionStatus
from agent_runner.ai.stigmer.agentic.agentinstance.v1.api_pb2 import AgentInstance
from agent_runner.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from agent_runner.ai.stigmer.agentic.executioncontext.v1.api_pb2 import ExecutionContext
from agent_runner.ai.stigmer.agentic.session.v1.api_pb2 import Session
from agent_runner.ai.stigmer.agentic.skill.v1.io_pb2 import PushSkillRequest
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ContractError, ContractUnavailable, UnresolvedReference
from agent_runner.clients.contract.clients import ContractClients
from tests.unit.compatible.contract_server import EXECUTION, SERVICES, SESSION, ContractServer


@pytest.fixture
async def clients(server: ContractServer) -> AsyncIterator[ContractClients]:
    async with ContractClients(server.settings()) as opened:
        yield opened


@pytest.mark.promise("1.10")
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("execution_id", lambda c: c.executions.get("")),
        ("execution_id", lambda c: c.executions.delete("")),
        ("execution_id", lambda c: c.executions.update_status("", AgentExecutionStatus())),
        ("session_id", lambda c: c.executions.list_by_session("")),
        ("session_id", lambda c: c.sessions.get("")),
        ("session_id", lambda c: c.sessions.delete("")),
        ("agent_id", lambda c: c.sessions.list_by_agent("")),
        ("agent_id", lambda c: c.agents.get("")),
        ("agent_id", lambda c: c.agents.delete("")),
        ("agent_id", lambda c: c.agent_instances.get_by_agent("")),
        ("agent_instance_id", lambda c: c.agent_instances.get("")),
        ("agent_instance_id", lambda c: c.agent_instances.delete("")),
        ("environment_id", lambda c: c.environments.get("")),
        ("environment_id", lambda c: c.environments.delete("")),
        ("skill_id", lambda c: c.skills.get("")),
        ("skill_id", lambda c: c.skills.delete("")),
        ("execution_context_id", lambda c: c.execution_contexts.get("")),
    ],
)
async def test_an_empty_id_is_not_sent(
    clients: ContractClients, server: ContractServer, name: str, call: Callable[[ContractClients], Any]
) -> None:
    """ValueError that names the id, and no call."""
    with pytest.raises(ValueError, match=f"^{name} cannot be empty$"):
        await call(clients)
    assert server.calls == []


async def test_an_empty_id_of_a_stream(clients: ContractClients) -> None:
    """`subscribe` refuses it too, before it is iterated."""
    with pytest.raises(ValueError, match=r"^execution_id cannot be empty$"):
        clients.executions.subscribe("")


async def test_every_method_of_the_contract_has_a_client(clients: ContractClients, server: ContractServer) -> None:
    """All 44 methods can be called, over one channel, with the key."""
    reference = ApiResourceReference(slug="x")
    c = clients
    server.add_environment("x")
    server.add_skill("x", "text", b"zip")
    for kept, message in ((c.agents, Agent()), (c.agent_instances, AgentInstance()), (c.sessions, Session())):
        for verb in ("create", "apply", "update"):
            await getattr(kept, verb)(message)
    for verb in ("create", "apply", "update"):
        await getattr(c.environments, verb)(Environment())
    await c.execution_contexts.create(ExecutionContext())
    await c.execution_contexts.apply(ExecutionContext())
    await c.skills.push(PushSkillRequest())
    await c.executions.create(AgentExecution())
    await c.executions.update(AgentExecution())
    await c.executions.update_status(EXECUTION, AgentExecutionStatus())
    await c.executions.get(EXECUTION)
    await c.executions.list()
    await c.executions.list_by_session(SESSION)
    assert [e async for e in c.executions.subscribe(EXECUTION)] == [AgentExecution()]
    await c.sessions.get(SESSION)
    await c.sessions.list()
    await c.sessions.list_by_agent("agt-1")
    await c.agents.get("agt-1")
    await c.agent_instances.get("ain-1")
    await c.agent_instances.get_by_agent("agt-1", page=2, page_size=5)
    await c.environments.get("env-1")
    await c.skills.get("skl-1")
    await c.execution_contexts.get("ctx-1")
    assert await c.skills.get_artifact("key-of-x") == b"zip"
    for referable in (c.agents, c.agent_instances, c.environments, c.skills, c.execution_contexts):
        await referable.get_by_reference(reference)
    for deletable in (c.executions, c.sessions, c.agents, c.agent_instances, c.environments, c.skills):
        await deletable.delete("id")
    await c.execution_contexts.delete("id", why="over")
    described = [descriptor_pool.Default().FindServiceByName(name) for name in SERVICES]
    known = {
        f"{d.name.replace('CommandController', '').replace('QueryController', '')}.{m.name}"
        for d in described
        for m in d.methods
    }
    assert len(known) == 44
    assert set(server.methods) == known
    assert all(sent["authorization"] == "Bearer dummy-local-key" for sent in server.metadata)


@pytest.mark.promise("1.68")
async def test_references_are_resolved_side_by_side(clients: ContractClients, server: ContractServer) -> None:
    """Five references to a server that takes 200 ms for each are asked at once, and keep their order."""
    for number in range(5):
        server.add_environment(f"env-{number}", NUMBER=str(number))
    server.delay_s["Environment.getByReference"] = 0.2
    found = await clients.environments.list_by_refs(server.instance.spec.environment_refs)
    assert server.most_delayed == 5
    assert [e.spec.data["NUMBER"].value for e in found] == ["0", "1", "2", "3", "4"]


async def test_a_reference_that_leads_nowhere_is_named(clients: ContractClients, server: ContractServer) -> None:
    """The error says which one of several, and how the server refused it."""
    server.add_environment("there")
    references = [ApiResourceReference(slug="there"), ApiResourceReference(slug="gone")]
    with pytest.raises(UnresolvedReference, match="NOT_FOUND: 'gone' does not exist") as caught:
        await clients.environments.list_by_refs(references)
    assert caught.value.reference.slug == "gone"


async def test_a_read_is_tried_again(clients: ContractClients, server: ContractServer) -> None:
    """UNAVAILABLE may pass; three tries make one answer."""
    server.refuse = lambda method, number: grpc.StatusCode.UNAVAILABLE if number < 2 else None
    assert (await clients.sessions.get(SESSION)).metadata.id == SESSION
    assert server.methods == ["Session.get"] * 3


async def test_what_is_refused_is_not_tried_again(clients: ContractClients, server: ContractServer) -> None:
    """An answer is an answer; its status and words are in the error."""
    with pytest.raises(ContractError, match="NOT_FOUND: 'ses-9' does not exist") as caught:
        await clients.sessions.get("ses-9")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert server.methods == ["Session.get"]


async def test_create_is_tried_again_only_with_a_key(clients: ContractClients, server: ContractServer) -> None:
    """Without a key two tries could make two executions; with one they make the same."""
    server.refuse = lambda method, number: grpc.StatusCode.UNAVAILABLE if number < 2 else None
    with pytest.raises(ContractUnavailable):
        await clients.executions.create(AgentExecution())
    assert len(server.calls) == 1
    await clients.executions.create(AgentExecution(), idempotency_key="k-1")
    assert len(server.calls) == 3
    assert [m.get("idempotency-key") for m in server.metadata] == [None, "k-1", "k-1"]


async def test_every_call_has_a_deadline(clients: ContractClients, server: ContractServer) -> None:
    """A server that hangs is given up when the patience is used up."""
    server.delay_s["Session.get"] = 30
    began = time.monotonic()
    with pytest.raises(ContractUnavailable, match="DEADLINE_EXCEEDED"):
        await clients.sessions.get(SESSION, patience=Patience(call_s=0.2, total_s=0.4))
    assert time.monotonic() - began < 20  # and not the 30 s that it hangs


async def test_messages_above_the_default_limit_pass(clients: ContractClients, server: ContractServer) -> None:
    """gRPC's own limit of 4 MiB is raised: 8 MiB come back."""
    server.archives["key"] = b"x" * (8 << 20)
    assert len(await clients.skills.get_artifact("key")) == 8 << 20
