"""Orgs are kept apart: a key of one org finds, changes and follows only what is its own, and reads the platform's."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agent.v1 import command_pb2_grpc as agent_command
from agent_runner.ai.stigmer.agentic.agent.v1 import query_pb2_grpc as agent_query
from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2, command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentExecutionStatus
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_IN_PROGRESS
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import io_pb2 as instance_io
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import query_pb2_grpc as instance_query
from agent_runner.ai.stigmer.agentic.session.v1 import io_pb2 as session_io
from agent_runner.ai.stigmer.agentic.session.v1 import query_pb2_grpc as session_query
from agent_runner.ai.stigmer.commons.apiresource.apiresourcekind.api_resource_kind_pb2 import ApiResourceKind
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import organization
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId, ApiResourceReference
from agent_runner.app.server.access.principal import current
from agent_runner.app.server.composition import RunningServer
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import executions_pb2_grpc as own_grpc
from tests.unit.server.conftest import created, http_client
from tests.unit.server.identity import agent, bearer, code_of, key, made
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True

VERSION = "agentic.stigmer.ai/v1"
KINDS = ("agents", "agent-instances", "sessions")
PLATFORM = {"owner_scope": "platform"}


@pytest_asyncio.fixture(loop_scope="module")
async def a(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(server, key=await key(server, "admin", org="a")) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def b(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(server, key=await key(server, "admin", org="b")) as client:
        yield client


def ids(listed: httpx.Response) -> set[str]:
    return {entry["metadata"]["id"] for entry in listed.json()["entries"]}


async def test_what_is_made_belongs_to_the_keys_org(a: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    """Without an org in the request it is the key's, for executions and all that is made with them."""
    execution = await created(a)
    assert execution["metadata"]["org"] == "a"
    assert (await made(a, "/v1/agents", agent("Mine")))["metadata"]["org"] == "a"
    for kind in KINDS:
        assert {e["metadata"]["org"] for e in (await http.get(f"/v1/{kind}")).json()["entries"]} == {"a"}
    assert (await created(a, org="a", agent="mine"))["metadata"]["org"] == "a"
    assert (await created(http))["metadata"]["org"] == "local"


async def test_another_org_in_a_request_is_refused(a: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    """Creating for another org or for the platform is a 403 that names both orgs; nothing is left behind."""
    await made(http, "/v1/agents", agent("Theirs", org="b"))
    contract = {"api_version": VERSION, "kind": "AgentExecution", "metadata": {"org": "b"}, "spec": {"message": "m"}}
    for path, body in (
        ("/v1/executions", {"message": "m", "org": "b"}),
        ("/v1/executions", {"message": "m", "org": "b", "agent": "theirs"}),
        ("/v1/executions", contract),
        ("/v1/agents", agent("New", org="b")),
        ("/v1/keys", {"name": "k", "scopes": ["read"], "org": "b"}),
    ):
        detail = assert_problem(await a.post(path, json=body), 403, "PERMISSION_DENIED")["detail"]
        assert "org 'a'" in detail
        assert "org 'b'" in detail
    platform = await a.post("/v1/agents", json=agent("New", **PLATFORM))
    assert "the platform" in assert_problem(platform, 403, "PERMISSION_DENIED")["detail"]
    assert_problem(await a.put("/v1/agents", json=agent("Theirs", org="b")), 403, "PERMISSION_DENIED")
    assert (await http.get("/v1/executions")).json()["total"] == 0
    assert (await http.get("/v1/agents")).json()["total"] == 1


async def test_executions_of_another_org_do_not_exist(
    a: httpx.AsyncClient, b: httpx.AsyncClient, http: httpx.AsyncClient
) -> None:
    """Over HTTP: get, events, cancel, redrive, delete and going on in the session are 404; lists leave them out."""
    theirs, mine = await created(b), await created(a)
    one = f"/v1/executions/{theirs['metadata']['id']}"
    for answer in (
        await a.get(one),
        await a.get(f"{one}/events"),
        await a.get(f"{one}/events", headers={"Last-Event-ID": "1"}),
        await a.get(f"{one}/events", headers={"Last-Event-ID": "nonsense"}),
        await a.post(f"{one}/cancel"),
        await a.post(f"{one}/redrive"),
        await a.delete(one),
        await a.post("/v1/executions", json={"message": "m", "session_id": theirs["spec"]["session_id"]}),
        await a.post("/v1/executions", json={"message": "m", "agent": theirs["spec"]["agent_id"]}),
    ):
        assert_problem(answer, 404, "NOT_FOUND")
    assert (await b.get(one)).json()["status"]["phase"] == "EXECUTION_PENDING"
    assert ids(await a.get("/v1/executions")) == {mine["metadata"]["id"]}
    assert (await a.get("/v1/executions")).json()["total"] == 1
    for params in ({"org": "b"}, {"session_id": theirs["spec"]["session_id"]}, {"agent": theirs["spec"]["agent_id"]}):
        assert (await a.get("/v1/executions", params=params)).json()["entries"] == []
    assert len(ids(await http.get("/v1/executions"))) == 2
    assert ids(await http.get("/v1/executions", params={"org": "b"})) == {theirs["metadata"]["id"]}


async def test_the_same_idempotency_key_in_two_orgs(a: httpx.AsyncClient, b: httpx.AsyncClient) -> None:
    """A key of idempotency that another org used gives an execution of one's own."""
    headers = {"Idempotency-Key": "same"}
    first, second = [(await c.post("/v1/executions", json={"message": "m"}, headers=headers)).json() for c in (a, b)]
    assert first["metadata"]["id"] != second["metadata"]["id"]
    assert second["metadata"]["org"] == "b"


async def test_resources_of_another_org_do_not_exist(a: httpx.AsyncClient, b: httpx.AsyncClient) -> None:
    """By id and by slug, to read, replace and delete, as a parent, and in lists."""
    theirs = await made(b, "/v1/agents", agent("Theirs"))
    id, instance = theirs["metadata"]["id"], theirs["status"]["default_instance_id"]
    for name in (id, "theirs"):
        for answer in (
            await a.get(f"/v1/agents/{name}"),
            await a.get(f"/v1/agents/{name}", params={"org": "b"}),
            await a.put(f"/v1/agents/{name}", json=agent("Theirs")),
            await a.delete(f"/v1/agents/{name}", params={"org": "b"}),
        ):
            assert_problem(answer, 404, "NOT_FOUND")
    child = {"api_version": VERSION, "kind": "Session", "metadata": {"name": "s", "owner_scope": "organization"}}
    session = await a.post("/v1/sessions", json={**child, "spec": {"agent_instance_id": instance}})
    assert_problem(session, 404, "NOT_FOUND")
    assert_problem(await a.get("/v1/sessions", params={"agent": id}), 404, "NOT_FOUND")
    for kind in KINDS:
        assert (await a.get(f"/v1/{kind}")).json()["total"] == 0
        assert (await a.get(f"/v1/{kind}", params={"org": "b"})).json()["entries"] == []
    mine = await made(a, "/v1/agents", agent("Theirs"))
    assert mine["metadata"]["id"] != id
    assert (await a.get("/v1/agents/theirs")).json()["metadata"]["org"] == "a"
    assert (await b.get(f"/v1/agents/{id}")).json() == theirs


async def test_what_is_the_platforms_is_read_by_all(a: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    """A platform agent is found, listed and run by an org, in sessions of its own; to change it is refused."""
    platform = await made(http, "/v1/agents", agent("Shared", **PLATFORM))
    id = platform["metadata"]["id"]
    assert (await a.get("/v1/agents/shared")).json() == platform
    assert ids(await a.get("/v1/agents")) == {id}
    execution = await created(a, agent="shared")
    assert (execution["metadata"]["org"], execution["spec"]["agent_id"]) == ("a", id)
    session = (await a.get(f"/v1/sessions/{execution['spec']['session_id']}")).json()
    assert session["metadata"]["org"] == "a"
    for answer in (
        await a.put(f"/v1/agents/{id}", json=agent("Shared")),
        await a.put("/v1/agents", json=agent("Shared", **PLATFORM)),
        await a.delete("/v1/agents/shared"),
        await a.delete(f"/v1/agent-instances/{platform['status']['default_instance_id']}"),
    ):
        assert_problem(answer, 403, "PERMISSION_DENIED")
    assert (await http.get("/v1/agents/shared")).json() == platform


async def test_a_missing_default_instance_of_the_platform_is_made(
    a: httpx.AsyncClient, http: httpx.AsyncClient
) -> None:
    """Self-healing is the server's own work: it does not need the caller to own the agent."""
    platform = await made(http, "/v1/agents", agent("Shared", **PLATFORM))
    assert (await http.delete(f"/v1/agent-instances/{platform['status']['default_instance_id']}")).status_code == 200
    execution = await created(a, agent="shared")
    assert execution["metadata"]["org"] == "a"
    healed = (await a.get("/v1/agents/shared")).json()["status"]["default_instance_id"]
    assert "org" not in (await a.get(f"/v1/agent-instances/{healed}")).json()["metadata"]


async def test_references_into_another_org_are_refused(a: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    """An instance that refers to another org's environment would bring its secrets: 403; its own and the platform's
    are accepted."""
    mine = await made(a, "/v1/agents", agent("Mine"))

    def instance(org: str, **scope: str) -> dict[str, Any]:
        reference = {"kind": 53, "slug": "prod", "org": org, "scope": "organization", **scope}
        metadata = {"name": f"with {org or 'platform'}", "owner_scope": "organization"}
        spec = {"agent_id": mine["metadata"]["id"], "environment_refs": [reference]}
        return {"api_version": VERSION, "kind": "AgentInstance", "metadata": metadata, "spec": spec}

    detail = assert_problem(await a.post("/v1/agent-instances", json=instance("b")), 403, "PERMISSION_DENIED")
    assert "org 'b'" in detail["detail"]
    await made(a, "/v1/agent-instances", instance("a"))
    await made(a, "/v1/agent-instances", instance("", scope="platform"))


async def test_keys_of_another_org(server: RunningServer, a: httpx.AsyncClient, b: httpx.AsyncClient) -> None:
    """An org's admin makes, sees and revokes the keys of its org only."""
    mine = await made(a, "/v1/keys", {"name": "mine", "scopes": ["read"]})
    assert mine["org"] == "a"
    assert {k["org"] for k in (await a.get("/v1/keys")).json()["keys"]} == {"a"}
    assert_problem(await b.delete(f"/v1/keys/{mine['id']}"), 404, "NOT_FOUND")
    assert_problem(await a.post("/v1/keys", json={"name": "r", "scopes": ["runner"]}), 403, "PERMISSION_DENIED")
    async with http_client(server, key=mine["key"]) as reader:
        assert (await reader.get("/v1/executions")).status_code == 200
        assert (await a.delete(f"/v1/keys/{mine['id']}")).status_code == 200
        assert_problem(await reader.get("/v1/executions"), 401, "UNAUTHENTICATED")


async def test_orgs_over_grpc(
    server: RunningServer, channel: grpc.aio.Channel, b: httpx.AsyncClient, a: httpx.AsyncClient
) -> None:
    """The contract's calls and ours: NOT_FOUND, left out of lists, PERMISSION_DENIED to create."""
    theirs, mine = await created(b), await created(a)
    agent_id, execution_id = theirs["spec"]["agent_id"], theirs["metadata"]["id"]
    metadata = bearer(await key(server, "admin", org="a"))
    query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
    command: Any = command_pb2_grpc.AgentExecutionCommandControllerStub(channel)
    executions: Any = own_grpc.ExecutionsStub(channel)
    agents: Any = agent_query.AgentQueryControllerStub(channel)
    instances: Any = instance_query.AgentInstanceQueryControllerStub(channel)
    sessions: Any = session_query.SessionQueryControllerStub(channel)
    agent_commands: Any = agent_command.AgentCommandControllerStub(channel)
    id = io_pb2.AgentExecutionId(value=execution_id)
    changed = json_format.ParseDict(theirs, AgentExecution(), ignore_unknown_fields=True)
    status = command_pb2.AgentExecutionUpdateStatusInput(
        execution_id=execution_id, status=AgentExecutionStatus(phase=EXECUTION_IN_PROGRESS)
    )
    by_slug = ApiResourceReference(scope=organization, org="b", kind=ApiResourceKind.agent, slug="agent-runner")
    session_id = session_io.SessionId(value=theirs["spec"]["session_id"])
    for call in (
        query.get(id, metadata=metadata),
        query.subscribe(id, metadata=metadata).read(),
        executions.watch(own.WatchRequest(execution_id=execution_id), metadata=metadata).read(),
        executions.watch(own.WatchRequest(execution_id=execution_id, from_seq=1), metadata=metadata).read(),
        executions.cancel(own.CancelRequest(execution_id=execution_id), metadata=metadata),
        executions.redrive(own.RedriveRequest(execution_id=execution_id), metadata=metadata),
        command.update(changed, metadata=metadata),
        command.delete(ApiResourceId(value=execution_id), metadata=metadata),
        agents.getByReference(by_slug, metadata=metadata),
        sessions.get(session_id, metadata=metadata),
    ):
        assert (await code_of(call))[0] is grpc.StatusCode.NOT_FOUND
    # Reports are the runners', who belong to no org: no admin of one sends them.
    assert (await code_of(command.updateStatus(status, metadata=metadata)))[0] is grpc.StatusCode.PERMISSION_DENIED
    listed = await query.list(io_pb2.ListAgentExecutionsRequest(), metadata=metadata)
    assert [e.metadata.id for e in listed.entries] == [mine["metadata"]["id"]]
    assert listed.total_pages == 1
    of_session = io_pb2.ListAgentExecutionsBySessionRequest(session_id=session_id.value)
    assert not (await query.listBySession(of_session, metadata=metadata)).entries
    by_agent = session_io.ListSessionsByAgentRequest(agent_id=agent_id)
    assert not (await sessions.listByAgent(by_agent, metadata=metadata)).entries
    assert len((await sessions.list(session_io.ListSessionsRequest(), metadata=metadata)).entries) == 1
    of_agent = instance_io.GetAgentInstancesByAgentRequest(agent_id=agent_id)
    assert (await instances.getByAgent(of_agent, metadata=metadata)).total_count == 0
    for call in (
        command.create(_execution(org="b", agent_id=mine["spec"]["agent_id"]), metadata=metadata),
        agent_commands.create(json_format.ParseDict(agent("New", org="b"), Agent()), metadata=metadata),
    ):
        code, text = await code_of(call)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "org 'a'" in text
    assert (await b.get(f"/v1/executions/{execution_id}")).json() == theirs


def _execution(*, org: str, agent_id: str) -> AgentExecution:
    execution = AgentExecution(api_version=VERSION, kind="AgentExecution")
    execution.metadata.name, execution.metadata.org = "a run", org
    execution.spec.message, execution.spec.agent_id = "m", agent_id
    return execution


def test_without_a_principal_nothing_is_read() -> None:
    """Whatever asks outside of a call is told to say who it acts for; there is no default."""
    with pytest.raises(RuntimeError, match="acting_as"):
        current()
