"""Scopes: every call has a row in the one table, and each scope opens what its row says and no more."""

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from agent_runner.ai.stigmer.agentic.agent.v1 import command_pb2_grpc as agent_command
from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId
from agent_runner.app.server.access.scopes import FOR_RUNNERS, OPEN, SCOPES, granted, needed
from agent_runner.app.server.composition import RunningServer
from agent_runner.status.api_keys import Scope
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import executions_pb2_grpc as own_grpc
from agent_runner.v1 import runner_pb2, runner_pb2_grpc
from tests.unit.server.conftest import AUTHORIZED, created, http_client
from tests.unit.server.identity import agent, bearer, code_of, key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True

REPORT = {"incarnation": "none", "exit_code": 0}


async def grpc_calls(channel: grpc.aio.Channel) -> set[str]:
    """Every method of every service that the server says it has."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    found: set[str] = set()
    async for reply in stub.ServerReflectionInfo(iter([request])):
        for service in reply.list_services_response.service:
            described = descriptor_pool.Default().FindServiceByName(service.name)
            found |= {f"/{service.name}/{method.name}" for method in described.methods}
    return found


def http_calls(routes: Any, prefix: str = "") -> Iterator[str]:
    """Every method and route of the application, included routers too."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from http_calls(route.original_router.routes, prefix)
        else:
            yield from (f"{method} {prefix}{route.path}" for method in route.methods - {"HEAD"})


def has_a_row(call: str) -> bool:
    package = call.startswith(tuple(row for row in OPEN if row.startswith("/")))
    return call in SCOPES or call in OPEN or package or call.startswith(FOR_RUNNERS)


async def test_every_call_has_a_row(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """No gRPC method and no HTTP route is without a scope, and no row is about something that is not there."""
    calls = {*await grpc_calls(channel), *http_calls(server.http.config.app.routes)}  # type: ignore[union-attr]
    assert len([call for call in calls if call.startswith("/ai.stigmer.")]) == 44
    assert {"POST /v1/executions", "GET /v1/executions/{execution_id}/events"} <= calls
    assert {call for call in calls if not has_a_row(call)} == set()
    assert set(SCOPES) - calls == set()


async def test_nothing_under_v1_is_open() -> None:
    """What is open is outside of /v1, and what is for runners is in no other row."""
    assert not [row for row in OPEN if "/v1/" in row]
    assert not [call for call in SCOPES if call.startswith(FOR_RUNNERS)]
    assert needed("GET /v1/something-new") is Scope.ADMIN


@pytest.mark.parametrize(
    ("scope", "opens"),
    [
        (Scope.READ, {Scope.READ}),
        (Scope.EXECUTE, {Scope.READ, Scope.EXECUTE}),
        (Scope.ADMIN, {Scope.READ, Scope.EXECUTE, Scope.ADMIN}),
        (Scope.RUNNER, {Scope.RUNNER}),
    ],
)
def test_what_each_scope_opens(scope: Scope, opens: set[Scope]) -> None:
    """read < execute < admin; runner opens what is for runners, and admin does not."""
    for call, row in SCOPES.items():
        assert granted({scope}, call) is (row in opens), call
    for call in ("/agent_runner.v1.Runner/claim", "POST /v1/runner/exits"):
        assert granted({scope}, call) is (scope is Scope.RUNNER)


async def http_statuses(http: httpx.AsyncClient, id: str) -> dict[str, int]:
    one = f"/v1/executions/{id}"
    return {
        "read": (await http.get(one)).status_code,
        "workers": (await http.get("/v1/workers")).status_code,
        "create": (await http.post("/v1/executions", json={"message": "a"})).status_code,
        "cancel": (await http.post(f"{one}/cancel")).status_code,
        "delete": (await http.delete(one)).status_code,
        "agents": (await http.post("/v1/agents", json=agent(f"by {http.headers['authorization'][-8:]}"))).status_code,
        "keys": (await http.get("/v1/keys")).status_code,
        "exits": (await http.post("/v1/runner/exits", json=REPORT)).status_code,
    }


@pytest.mark.parametrize(
    ("scope", "opens"),
    [
        ("read", {"read": 200, "workers": 200}),
        ("execute", {"read": 200, "workers": 200, "create": 201, "cancel": 202}),
        (
            "admin",
            {"read": 200, "workers": 200, "create": 201, "cancel": 202, "delete": 200, "agents": 201, "keys": 200},
        ),
        ("runner", {"exits": 202}),
    ],
)
async def test_scopes_over_http(server: RunningServer, scope: str, opens: dict[str, int]) -> None:
    """What a scope does not open is a 403; the text names the scope that is missing and what the key has."""
    async with http_client(server) as http:
        id = (await created(http))["metadata"]["id"]
    async with http_client(server, key=await key(server, scope)) as http:
        statuses = await http_statuses(http, id)
        assert {name: status for name, status in statuses.items() if status != 403} == opens
        other = "/v1/runner/exits" if scope != "runner" else "/v1/executions"
        detail = assert_problem(await http.post(other, json=REPORT), 403, "PERMISSION_DENIED")["detail"]
        assert f"the scope '{'runner' if scope != 'runner' else 'execute'}'" in detail
        assert f"has: {scope}" in detail
        assert_problem(await http.get("/v1/nothing"), 404, "NOT_FOUND")


async def test_scopes_over_grpc(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """Unary and streaming calls beyond the scope are PERMISSION_DENIED with the missing scope, before anything else."""
    runner: Any = runner_pb2_grpc.RunnerStub(channel)
    executions: Any = own_grpc.ExecutionsStub(channel)
    query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
    command: Any = command_pb2_grpc.AgentExecutionCommandControllerStub(channel)
    agents: Any = agent_command.AgentCommandControllerStub(channel)
    id, claim = (
        io_pb2.AgentExecutionId(value="aex-none"),
        runner_pb2.ClaimRequest(execution_id="aex-none", run_token=b"t" * 16),
    )

    def calls(metadata: Any) -> list[tuple[str, Any]]:
        return [
            ("read", query.get(id, metadata=metadata)),
            ("read", query.subscribe(id, metadata=metadata).read()),
            ("read", executions.watch(own.WatchRequest(execution_id="a"), metadata=metadata).read()),
            ("execute", executions.cancel(own.CancelRequest(execution_id="a"), metadata=metadata)),
            ("execute", command.create(AgentExecution(), metadata=metadata)),
            ("admin", command.delete(ApiResourceId(value="a"), metadata=metadata)),
            ("admin", agents.create(Agent(), metadata=metadata)),
        ]

    opens = {"read": {"read"}, "execute": {"read", "execute"}, "admin": {"read", "execute", "admin"}, "runner": set()}
    for scope, allowed in opens.items():
        metadata = bearer(await key(server, scope))
        for row, call in calls(metadata):
            code, text = await code_of(call)
            assert (code is not grpc.StatusCode.PERMISSION_DENIED) is (row in allowed), (scope, row, code)
            assert row in allowed or f"the scope '{row}'" in text
        if scope == "runner":
            assert not (await runner.claim(claim, metadata=metadata)).granted
        else:
            # No message: a client that still has one to send may lose the server's status
            # (findings/refused-stream-loses-its-status.sh).
            presence = runner.presence(iter([]), metadata=metadata)
            for call in (runner.claim(claim, metadata=metadata), presence.read()):
                code, text = await code_of(call)
                assert code is grpc.StatusCode.PERMISSION_DENIED
                assert "the scope 'runner'" in text
    assert not (await runner.claim(claim, metadata=AUTHORIZED)).granted
