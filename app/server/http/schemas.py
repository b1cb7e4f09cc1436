"""Bodies as `/openapi.json` describes them. What is applied is in `app.server.drafts` and `app.server.rules`."""

from typing import Any

_TIMEOUTS = {
    name: {"type": "number", "exclusiveMinimum": 0}
    for name in ("schedule_to_start_s", "heartbeat_s", "start_to_close_s", "schedule_to_close_s")
}
SHORT_FORM: dict[str, Any] = {
    "title": "ShortForm",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "message": {"type": "string", "description": "what the user says"},
        "input": {"description": "JSON instead of a message, for graphs without messages"},
        "agent": {"type": "string", "description": "slug or id; without it the built-in agent answers"},
        "session_id": {"type": "string", "description": "go on in this session"},
        "graph": {"type": "string", "description": "a graph of langgraph.json"},
        "model": {"type": "string"},
        "env": {"type": "object", "additionalProperties": {"type": "string"}, "description": "secrets of this run"},
        "timeouts": {"type": "object", "additionalProperties": False, "properties": _TIMEOUTS},
        "org": {"type": "string", "default": "local"},
    },
    "example": {"message": "$ uname -a"},
}
CONTRACT_FORM: dict[str, Any] = {
    "title": "AgentExecution",
    "type": "object",
    "description": "protobuf JSON of ai.stigmer.agentic.agentexecution.v1.AgentExecution, either spelling",
    "required": ["api_version", "kind", "metadata", "spec"],
    "properties": {
        "api_version": {"const": "agentic.stigmer.ai/v1"},
        "kind": {"const": "AgentExecution"},
        "metadata": {"type": "object"},
        "spec": {"type": "object"},
    },
}


def body_of(*schemas: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` for a JSON body that is one of these."""
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": list(schemas)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


CREATE_BODY = body_of(SHORT_FORM, CONTRACT_FORM)


def resource_body(kind: str) -> dict[str, Any]:
    properties = {**CONTRACT_FORM["properties"], "kind": {"const": kind}}
    return body_of(
        {**CONTRACT_FORM, "title": kind, "description": f"protobuf JSON of {kind}", "properties": properties}
    )
