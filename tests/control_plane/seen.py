"""Answers and the model in one shape, so that they can be compared whole; without times, which the server decides."""

from typing import Any

from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentExecutionStatus
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_CANCELLED, MESSAGE_SYSTEM
from tests.control_plane.caller import resource_of
from tests.control_plane.model import CANCELLED_TEXT, Execution, Report, Resource

Seen = dict[str, Any]


def of_execution(execution: AgentExecution) -> Seen:
    metadata, spec, status = execution.metadata, execution.spec, execution.status
    error, messages = status.error, [(m.type, m.content) for m in status.messages]
    if status.phase == EXECUTION_CANCELLED and "[E401" in error:  # the server says it, in words of its own
        assert messages.pop()[0] == MESSAGE_SYSTEM
        error, messages = CANCELLED_TEXT, [*messages, (MESSAGE_SYSTEM, CANCELLED_TEXT)]
    return {
        "id": metadata.id,
        "org": metadata.org,
        "name": metadata.name,
        "tags": tuple(metadata.tags),
        "labels": dict(metadata.labels),
        "annotations": dict(metadata.annotations),
        "session_id": spec.session_id,
        "agent_id": spec.agent_id,
        "message": spec.message,
        "phase": status.phase,
        "error": error,
        "messages": messages,
        "calls": [(c.id, c.name, c.status, c.error) for c in status.tool_calls],
        "subs": [(s.id, s.name, s.status, s.error) for s in status.sub_agent_executions],
        "todos": {id: (todo.content, todo.status) for id, todo in status.todos.items()},
    }


def of_resource(resource: Any) -> Seen:
    metadata, spec = resource.metadata, resource.spec
    parent = {"Agent": "", "AgentInstance": "agent_id", "Session": "agent_instance_id"}[resource.kind]
    return {
        "id": metadata.id,
        "org": metadata.org,
        "name": metadata.name,
        "slug": metadata.slug,
        "tags": tuple(metadata.tags),
        "labels": dict(metadata.labels),
        "annotations": dict(metadata.annotations),
        "parent_id": getattr(spec, parent) if parent else "",
        "text": spec.subject if resource.kind == "Session" else spec.description,
    }


def modelled(described: Execution | Resource) -> Seen:
    hidden = {"number", "kind"}
    return {name: value for name, value in vars(described).items() if name not in hidden}


def execution_in(shown: dict[str, Any]) -> AgentExecution:
    """From the JSON of HTTP."""
    return json_format.ParseDict(shown, AgentExecution(), ignore_unknown_fields=True)


def resource_in(shown: dict[str, Any]) -> Any:
    """From the JSON of HTTP."""
    return json_format.ParseDict(shown, type(resource_of(shown["kind"], ""))(), ignore_unknown_fields=True)


def status_of(report: Report) -> AgentExecutionStatus:
    """The partial status that a report stands for."""
    status = AgentExecutionStatus(phase=report.phase, error=report.error)  # type: ignore[arg-type]
    for type_, content in report.messages:
        status.messages.add(type=type_, content=content)
    for id, name, state, error in report.calls:
        status.tool_calls.add(id=id, name=name, status=state, error=error)
    for id, name, state, error in report.subs:
        status.sub_agent_executions.add(id=id, name=name, status=state, error=error)
    for id, (content, state) in report.todos.items():
        status.todos[id].id, status.todos[id].content, status.todos[id].status = id, content, state
    return status
