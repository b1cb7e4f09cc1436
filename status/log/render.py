"""A `State` as the published contract's AgentExecutionStatus."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from agent_runner.status.log.events import INPUT_MESSAGE, USER_MESSAGE
from agent_runner.status.log.state import Json, State

TIMES = 256
"""Written times that are remembered: rows that were written together have one."""


def render(state: State) -> Json:
    """The state as the contract's AgentExecutionStatus: protobuf JSON with the original field names, defaults left out.

    Messages have a `metadata.message_id`, except the user's own and ours: later rows of the log refer to it.
    """
    calls = {key: _render_call(call) for key, call in state.tool_calls.items()}
    todos = {
        todo["id"]: _set(todo, created_at=_time(todo), updated_at=_time(todo, "updated_at")) for todo in state.todos
    }
    return _set(
        {
            "messages": [_render_message(message, calls) for message in state.messages.values()],
            "phase": state.phase.wire_name if state.phase else "",
            "tool_calls": [calls[key] for key in state.listed],
            "sub_agent_executions": [_render_sub_agent(sub) for sub in state.sub_agents.values()],
            "error": state.error,
            "started_at": _shown(state.started_at),
            "completed_at": _shown(state.completed_at),
            "todos": todos,
        }
    )


@lru_cache(maxsize=TIMES)
def rfc3339(at: float) -> str:
    """`2026-11-20T10:00:00.123Z`: UTC, milliseconds."""
    return (
        datetime.fromtimestamp(round(at * 1000) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _render_message(message: Json, calls: Mapping[str, Json]) -> Json:
    metadata = message["metadata"]
    named = message["type"] == "MESSAGE_AI" or (message["type"] == "MESSAGE_HUMAN" and message["id"] != USER_MESSAGE)
    named = named or str(message["id"]).startswith(INPUT_MESSAGE)
    if named and not str(message["id"]).startswith("merged-"):
        metadata = {"message_id": message["id"], **metadata}
    return _set(
        {
            "type": message["type"],
            "content": "".join(message["content"]),
            "timestamp": _time(message, "at"),
            "tool_calls": [calls[key] for key in message["tool_calls"]],
            "metadata": metadata,
        }
    )


def _render_call(call: Json) -> Json:
    shown = {name: value for name, value in call.items() if name not in ("component", "possibly_repeated")}
    times = {"started_at": _time(call, "started_at"), "completed_at": _time(call, "completed_at")}
    component = call.get("component") or {}
    if call.get("possibly_repeated"):
        component = {**component, "metadata": {**(component.get("metadata") or {}), "possibly_repeated": True}}
    return _set(shown, component_metadata=_set(component), **times)


def _render_sub_agent(sub: Json) -> Json:
    shown = {name: value for name, value in sub.items() if name != "scope"}
    metadata = {**(sub.get("metadata") or {}), **({"scope": sub["scope"]} if sub.get("scope") else {})}
    return _set(shown, metadata=metadata, started_at=_time(sub, "started_at"), completed_at=_time(sub, "completed_at"))


def _set(fields: Mapping[str, Any], **more: Any) -> Json:
    """Only the fields that differ from protobuf's defaults."""
    return {name: value for name, value in {**fields, **more}.items() if value not in ("", None, [], {}, 0)}


def _time(of: Mapping[str, Any], name: str = "created_at") -> str:
    return _shown(of.get(name) or "")


def _shown(at: float | str) -> str:
    return at if isinstance(at, str) else rfc3339(at) if at else ""
