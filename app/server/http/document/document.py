"""`/openapi.json`: FastAPI's description of the routes, the contract's messages, and every possible refusal."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from agent_runner.app.server.agent_server.edge_paths import is_edge, is_guarded
from agent_runner.app.server.http.answers import PROBLEM
from agent_runner.app.server.http.document.event_schemas import EVENT_PARTS
from agent_runner.app.server.http.document.front_end_schemas import agui_parts
from agent_runner.app.server.http.document.message_schemas import TEXT, message_components, ref
from agent_runner.app.server.http.document.schemas import JSON, PARTS, STRING, Schema, object_of
from agent_runner.app.server.problems import Kind

GUARDED = "/v1/"
_VIOLATION = object_of(field=STRING, text=STRING)
PROBLEM_SCHEMA: Schema = {
    **object_of(
        type=STRING,
        title=STRING,
        status={"type": "integer"},
        detail={"type": "string", "description": "what is wrong"},
        code={"type": "string", "description": "the failure's where it has one (E501), else the gRPC code's name"},
        next_step={"type": "string", "description": "what to do about it"},
    ),
    "description": "Every answer that is not what was asked for.",
}
PROBLEM_SCHEMA["properties"]["violations"] = {"type": "array", "items": _VIOLATION, "description": "field by field"}
REFUSAL_SCHEMA: Schema = {
    **{name: PROBLEM_SCHEMA[name] for name in ("type",)},
    "required": ["detail", "code", "next_step"],
    "properties": {name: PROBLEM_SCHEMA["properties"][name] for name in ("detail", "code", "next_step")},
    "description": "Every answer of the Agent Server API that is not what was asked for.",
}
_HEADERS: Mapping[int, Schema] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    429: {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}},
}
_FREE = (400, 413)
"""Refusals of every route: an address with NUL characters, a request that is too large."""
_ASKED = (401, 403, 429, 503)
"""Further refusals of the routes that need a key."""


def describe(app: FastAPI) -> dict[str, Any]:
    """The document. Made once: the routes do not change."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=f"Errors are `{PROBLEM}`. Everything below `/v1` needs `Authorization: Bearer <key>`.",
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    made = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's errors; ours is a Problem
        made.pop(name, None)
    made |= {**message_components(), **PARTS, **EVENT_PARTS, **agui_parts()}
    made |= {"Problem": PROBLEM_SCHEMA, "Refusal": REFUSAL_SCHEMA}
    used: set[tuple[int, bool]] = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                for schema in _texts(parameter["schema"]):
                    schema.setdefault("pattern", TEXT)
            answers = operation["responses"]
            answers.pop("422", None)
            for status in _refusals(path, method, operation):
                used.add((status, is_edge(path)))
                name = _response_name(status, edge=is_edge(path))
                answers.setdefault(str(status), {"$ref": f"#/components/responses/{name}"})
    components["responses"] = {
        _response_name(status, edge=edge): _refused(status, edge=edge) for status, edge in sorted(used)
    }
    return document


def _texts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas of the texts in that of a parameter: it may be one, a list of them, or either of these."""
    parts = [part.get("items", part) for part in schema.get("anyOf", [schema])]
    return [part for part in parts if part.get("type") == "string"]


def allowed_methods(document: Mapping[str, Any], path: str) -> list[str]:
    """The methods of this path, for `Allow`; empty for a path that is not described."""
    wanted = path.split("/")
    found: dict[int, set[str]] = {}
    for template, operations in document["paths"].items():
        parts = template.split("/")
        if len(parts) == len(wanted) and all(p.startswith("{") or p == w for p, w in zip(parts, wanted, strict=True)):
            found.setdefault(template.count("{"), set()).update(method.upper() for method in operations)
    # `/threads/search` is not the thread `search`: what names most of the path is meant.
    return sorted(found[min(found)]) if found else []


def _refusals(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[int]:
    yield from _FREE
    if is_guarded(path):
        yield from (*_ASKED, 404, 409, 422)
        return
    if is_edge(path):
        yield from (422, 503)
    if not path.startswith(GUARDED):
        return
    yield from _ASKED
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    if "{" in path or "requestBody" in operation or "agent" in names:
        yield 404
    if method != "get":
        yield 409


def _response_name(status: int, *, edge: bool) -> str:
    return f"{'AgentServer' if edge else ''}Refused{status}"


def _refused(status: int, *, edge: bool) -> Schema:
    title = "; ".join(dict.fromkeys(kind.title for kind in Kind if kind.http_status == status))
    content = {JSON: {"schema": ref("Refusal")}} if edge else {PROBLEM: {"schema": ref("Problem")}}
    described: Schema = {"description": title, "content": content}
    return described | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
