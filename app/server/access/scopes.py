"""The scope that each call needs: one table for gRPC and HTTP. A call without a row needs `admin`, and a test fails.

A gRPC call is `/<service>/<method>`, an HTTP call `<METHOD> <route>`. A call that begins with an entry of `FOR_RUNNERS`
needs `runner`. The only other call that needs it is the contract's `updateStatus`.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from agent_runner.app.server.access import agent_server_scopes
from agent_runner.app.server.access.front_end_scopes import FRONT_END_SCOPES
from agent_runner.status.api_keys import Scope

GRANTS: Mapping[Scope, frozenset[Scope]] = {
    Scope.ADMIN: frozenset({Scope.ADMIN, Scope.EXECUTE, Scope.READ, Scope.MODEL}),
    Scope.EXECUTE: frozenset({Scope.EXECUTE, Scope.READ}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.RUNNER: frozenset({Scope.RUNNER}),
    Scope.MODEL: frozenset({Scope.MODEL}),
}
"""A key with the scope on the left may make the calls that need a scope on the right."""

MOST_REMEMBERED = 4096
"""Answers of `granted`, for keys of different scopes."""
OPEN = (
    "/grpc.health.v1.",
    "/grpc.reflection.",
    "GET /",
    "GET /docs",
    "GET /openapi.json",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    *agent_server_scopes.OPEN,
)
"""Calls that need no key: they show no data. The first two are whole packages."""
FOR_RUNNERS = ("/agent_runner.v1.Runner/", "POST /v1/runner/")

_STIGMER = "/ai.stigmer.agentic"
_READ = ("get", "getByReference")


def _service(package: str, name: str, scopes: Mapping[Scope, Iterable[str]]) -> dict[str, Scope]:
    service = f"{_STIGMER}.{package}.v1.{name}"
    return {f"{service}/{method}": scope for scope, methods in scopes.items() for method in methods}


def _collection(route: str, *, write: Scope) -> dict[str, Scope]:
    """The HTTP routes of one kind of resource. A delete needs `admin`."""
    some, one = f"/v1/{route}", f"/v1/{route}/{{name}}"
    rows = {f"GET {some}": Scope.READ, f"GET {one}": Scope.READ, f"DELETE {one}": Scope.ADMIN}
    return rows | dict.fromkeys((f"POST {some}", f"PUT {some}", f"PUT {one}"), write)


_A_SCHEDULE = "/v1/schedules/{schedule_id}"
_OF_SCHEDULE = {
    "read": [f"GET {_A_SCHEDULE}{part}" for part in ("", "/firings", "/preview")],
    "execute": [
        *(f"{method} {_A_SCHEDULE}" for method in ("PATCH", "DELETE")),
        *(f"POST {_A_SCHEDULE}/{verb}" for verb in ("pause", "resume", "fire")),
    ],
}
"""A schedule is executions to come: who may execute may also end it."""
_WRITE = ("create", "update", "apply", "delete")
SCOPES: Mapping[str, Scope] = {
    **_service("agent", "AgentCommandController", {Scope.ADMIN: _WRITE}),
    **_service("agent", "AgentQueryController", {Scope.READ: _READ}),
    **_service("agentinstance", "AgentInstanceCommandController", {Scope.ADMIN: _WRITE}),
    **_service("agentinstance", "AgentInstanceQueryController", {Scope.READ: (*_READ, "getByAgent")}),
    **_service("environment", "EnvironmentCommandController", {Scope.ADMIN: _WRITE}),
    **_service("environment", "EnvironmentQueryController", {Scope.READ: _READ}),
    **_service("executioncontext", "ExecutionContextCommandController", {Scope.ADMIN: ("create", "apply", "delete")}),
    **_service("executioncontext", "ExecutionContextQueryController", {Scope.READ: _READ}),
    **_service("skill", "SkillCommandController", {Scope.ADMIN: ("push", "delete")}),
    **_service("skill", "SkillQueryController", {Scope.READ: (*_READ, "getArtifact")}),
    **_service(
        "session",
        "SessionCommandController",
        {Scope.EXECUTE: ("create", "update", "apply"), Scope.ADMIN: ("delete",)},
    ),
    **_service("session", "SessionQueryController", {Scope.READ: ("get", "list", "listByAgent")}),
    **_service(
        "agentexecution",
        "AgentExecutionCommandController",
        {Scope.EXECUTE: ("create", "update"), Scope.RUNNER: ("updateStatus",), Scope.ADMIN: ("delete",)},
    ),
    **_service(
        "agentexecution",
        "AgentExecutionQueryController",
        {Scope.READ: ("get", "list", "listBySession", "subscribe")},
    ),
    "/agent_runner.v1.Executions/cancel": Scope.EXECUTE,
    "/agent_runner.v1.Executions/redrive": Scope.EXECUTE,
    "/agent_runner.v1.Executions/watch": Scope.READ,
    "GET /v1/page": Scope.READ,
    "POST /v1/executions": Scope.EXECUTE,
    "GET /v1/executions": Scope.READ,
    "GET /v1/executions/counts": Scope.READ,
    "GET /v1/executions/changes": Scope.READ,
    "GET /v1/executions/{execution_id}/timeline": Scope.READ,
    "POST /v1/executions:cancel": Scope.EXECUTE,
    "POST /v1/executions:redrive": Scope.EXECUTE,
    "POST /v1/executions:delete": Scope.ADMIN,
    "GET /v1/overview": Scope.READ,
    "GET /v1/budgets": Scope.READ,
    "GET /v1/executions/{execution_id}": Scope.READ,
    "DELETE /v1/executions/{execution_id}": Scope.ADMIN,
    "POST /v1/executions/{execution_id}/cancel": Scope.EXECUTE,
    "POST /v1/executions/{execution_id}/redrive": Scope.EXECUTE,
    "GET /v1/executions/{execution_id}/events": Scope.READ,
    "POST /v1/executions/{execution_id}/stream-ticket": Scope.READ,
    "POST /v1/executions/{execution_id}/answer-token": Scope.EXECUTE,
    **dict.fromkeys(("GET /v1/answer", "POST /v1/answer"), Scope.EXECUTE),
    "GET /v1/executions/{execution_id}/attachments/{attachment_id}": Scope.READ,
    **_collection("agents", write=Scope.ADMIN),
    **_collection("agent-instances", write=Scope.ADMIN),
    **_collection("environments", write=Scope.ADMIN),
    **_collection("skills", write=Scope.ADMIN),
    "GET /v1/skills/{name}/archive": Scope.READ,
    **_collection("sessions", write=Scope.EXECUTE),
    "GET /v1/sessions/{name}/state": Scope.READ,
    "GET /v1/workers": Scope.READ,
    "GET /metrics": Scope.READ,
    "POST /v1/keys": Scope.ADMIN,
    "GET /v1/keys": Scope.ADMIN,
    "DELETE /v1/keys/{key_id}": Scope.ADMIN,
    "POST /v1/retention": Scope.ADMIN,
    **dict.fromkeys(("GET /v1/schedules", "POST /v1/schedules/preview", *_OF_SCHEDULE["read"]), Scope.READ),
    **dict.fromkeys(("POST /v1/schedules", *_OF_SCHEDULE["execute"]), Scope.EXECUTE),
    **agent_server_scopes.AGENT_SERVER_SCOPES,
    **FRONT_END_SCOPES,
}


def needed(call: str) -> Scope:
    if call.startswith(FOR_RUNNERS):
        return Scope.RUNNER
    return SCOPES.get(call, Scope.ADMIN)


def may_grant(mine: Iterable[Scope], scope: Scope) -> bool:
    """Whether a key with the scopes `mine` may make every call that `scope` allows."""
    return GRANTS[scope] <= frozenset().union(*(GRANTS[each] for each in mine))


def granted(scopes: Iterable[Scope], call: str) -> bool:
    return _granted(frozenset(scopes), call)


@lru_cache(maxsize=MOST_REMEMBERED)
def _granted(scopes: frozenset[Scope], call: str) -> bool:
    return any(needed(call) in GRANTS[scope] for scope in scopes)
