"""An execution as its readers see it: the row and the folded log, as the contract's AgentExecution.

`execution_json` is protobuf JSON with the original field names, plus `waiting_for_input`. If there are any, it also has
the other fields of `EXTRAS`. `execution_message` is the same as a message, without these fields.
"""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.problems import invalid
from agent_runner.app.server.resources.sealing import redacted
from agent_runner.status.brief import Brief, brief_metadata
from agent_runner.status.log.log import State, render, rfc3339
from agent_runner.status.phases import TERMINAL_PHASES, Step
from agent_runner.status.questions import next_step_of
from agent_runner.status.store.records import Execution

API_VERSION = "agentic.stigmer.ai/v1"
GRAPH_ANNOTATION = "agent-runner/graph"
CREATED_BY = "created_by"
"""Beside `metadata` and `spec` in the row's document: the creator."""
REQUEST = "request"
"""In the row's document: the digest of the request, if it came with an idempotency key."""
MAX_RECURSION, MAX_LEVELS = 66, 34
"""Readers of protobuf stop at a depth of 100. An object in a struct takes three levels of it and two recursions of the
parser. A list or an event around the execution takes some too. The second number is levels of JSON."""
EXTRAS = (
    "output", "incomplete", "redriven_from", "waiting_for_input", "questions", "next_step", "sandbox", "attempts",
    "turn",
)  # fmt: skip
"""The fields that our JSON has and the contract has not."""


def execution_json(execution: Execution, state: State) -> dict[str, Any]:
    """The whole execution. `execution.spec` holds `{"metadata": ..., "spec": ...}` as they were created."""
    kept = execution.spec
    shown: dict[str, Any] = {
        "api_version": API_VERSION,
        "kind": "AgentExecution",
        "metadata": {**kept.get("metadata", {}), **_identity(execution)},
        "spec": {**kept.get("spec", {}), "session_id": execution.session_id, "agent_id": execution.agent_id},
        "status": {**render(state), "audit": _audit(execution)},
    }
    human = (m for m in state.messages.values() if m["type"] == "MESSAGE_HUMAN")
    if state.said is not None:  # updateStatus replaced the messages, but never changes the spec
        shown["spec"]["message"] = state.said
    elif first := state.messages.get("user") or next(human, None):
        shown["spec"]["message"] = "".join(first["content"])
    if state.output is not None:
        shown["output"] = state.output
    shown["waiting_for_input"] = bool(execution.waiting)
    if state.questions:
        shown["questions"] = list(state.questions.values())
    if execution.waiting:
        shown["next_step"] = next_step_of(list(state.questions.values()), execution.session_id)
    if state.incomplete:
        shown["incomplete"] = state.incomplete
    if state.sandbox:
        shown["sandbox"] = state.sandbox
    if execution.redriven_from:
        shown["redriven_from"] = execution.redriven_from
    if execution.retry.maximum_attempts > 1:
        shown["attempts"] = attempts_json(execution, state)
    return shown | turn_json(execution)


def turn_json(execution: Execution) -> dict[str, Any]:
    """`turn`, while it waits for its org's turn."""
    if not execution.ready_at:
        return {}
    since = rfc3339(execution.ready_at)
    return {"turn": {"org": execution.org, "priority": execution.priority, "waiting_since": since}}


def attempts_json(execution: Execution, state: State) -> dict[str, Any]:
    """`current` and `maximum`; `failed`: the attempts before, with their reasons; `next_at` while the next one waits
    for its time. For executions that may have more than one."""
    shown: dict[str, Any] = {"current": execution.attempt, "maximum": execution.retry.maximum_attempts}
    names = ("attempt", "error_code", "error", "worker", "possibly_repeated")
    shown["failed"] = [
        {name: one[name] for name in names if one.get(name)} | {"ended_at": rfc3339(one["ended_at"])}
        for one in state.attempts
    ]
    waits = execution.phase not in TERMINAL_PHASES and execution.step in (Step.ENSURE_THREAD, Step.EXECUTE)
    if waits and state.attempts and state.attempts[-1].get("attempt") == execution.attempt:
        shown["next_at"] = rfc3339(state.attempts[-1]["next_at"])
    return shown


def brief_json(execution: Execution, told: Brief) -> dict[str, Any]:
    """The execution without its content, for lists. `spec.message` is the beginning of the message."""
    spec: dict[str, Any] = {"session_id": execution.session_id, "agent_id": execution.agent_id}
    if config := execution.spec.get("spec", {}).get("execution_config"):
        spec["execution_config"] = config
    status: dict[str, Any] = {"phase": execution.phase.wire_name, "audit": _audit(execution)}
    if execution.completed_at:
        status["completed_at"] = rfc3339(told.told_at or execution.completed_at)
    shown: dict[str, Any] = {
        "api_version": API_VERSION,
        "kind": "AgentExecution",
        "metadata": brief_metadata({**execution.spec.get("metadata", {}), **_identity(execution)}),
        "spec": spec | ({"message": told.said} if told.said else {}),
        "status": status | ({"error": told.error} if told.error else {}),
        "waiting_for_input": bool(execution.waiting),
    }
    if told.incomplete:
        shown["incomplete"] = dict(told.incomplete)
    if execution.retry.maximum_attempts > 1:
        shown["attempts"] = {"current": execution.attempt, "maximum": execution.retry.maximum_attempts}
    if execution.redriven_from:
        shown["redriven_from"] = execution.redriven_from
    return shown | turn_json(execution)


def execution_message(execution: Execution, state: State) -> AgentExecution:
    return execution_from_json(execution_json(execution, state))


def execution_from_json(shown: Mapping[str, Any]) -> AgentExecution:
    """A value that is nested too deep for a message, for example a tool's arguments, becomes JSON text."""
    contract: dict[str, Any] = {name: value for name, value in shown.items() if name not in EXTRAS}
    try:
        return _parsed(contract)
    except json_format.ParseError:
        return _parsed(_shallow(contract, MAX_LEVELS))


def _parsed(contract: dict[str, Any]) -> AgentExecution:
    return json_format.ParseDict(
        contract, AgentExecution(), ignore_unknown_fields=True, max_recursion_depth=MAX_RECURSION
    )


def _shallow(value: Any, levels: int) -> Any:
    if not isinstance(value, Mapping | list):
        return value
    if levels == 0:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return [_shallow(item, levels - 1) for item in value]
    return {name: _shallow(item, levels - 1) for name, item in value.items()}


def as_json(message: Message) -> dict[str, Any]:
    """Protobuf JSON with the original field names, defaults left out.

    Raises INVALID_ARGUMENT for values that JSON cannot hold: NaN in a struct, a time after the year 9999.
    """
    try:
        return json_format.MessageToDict(message, preserving_proto_field_name=True)
    except (json_format.SerializeToJsonError, ValueError) as error:
        raise invalid(f"{message.DESCRIPTOR.name}: {error}") from None


def _identity(execution: Execution) -> dict[str, Any]:
    return {"id": execution.id, "name": execution.name, "slug": execution.slug, "org": execution.org}


def _audit(execution: Execution) -> dict[str, Any]:
    created = rfc3339(execution.created_at)
    touched = [execution.created_at, execution.claimed_at, execution.last_beat_at, execution.completed_at]
    latest = rfc3339(execution.completed_at or max(at for at in touched if at))
    by = execution.spec.get(CREATED_BY)
    made = {"created_at": created} | ({"created_by": {"id": by}} if by else {})
    return {
        "spec_audit": {**made, **_updated(execution, created)},
        "status_audit": {**made, "updated_at": latest, "event": "updated"},
    }


def _updated(execution: Execution, created: str) -> dict[str, Any]:
    if execution.spec_updated_at is None:
        return {"updated_at": created, "event": "created"}
    at, by = rfc3339(execution.spec_updated_at), execution.spec_updated_by
    return {"updated_at": at, "event": "updated", "updated_by": {"id": by}}


def stored_spec(execution: AgentExecution, graph: str) -> dict[str, Any]:
    """The part of the contract's AgentExecution that the row keeps: no message (it is in the log), no secret values."""
    shown = as_json(execution)
    metadata = {name: value for name, value in shown.get("metadata", {}).items() if name in _KEPT_METADATA}
    if graph:
        metadata["annotations"] = {**metadata.get("annotations", {}), GRAPH_ANNOTATION: graph}
    spec = {name: value for name, value in shown.get("spec", {}).items() if name in _KEPT_SPEC}
    if "runtime_env" in spec:
        spec["runtime_env"] = redacted(spec["runtime_env"])
    return {"metadata": metadata, "spec": spec}


_KEPT_METADATA = ("labels", "annotations", "tags")
_KEPT_SPEC = ("execution_config", "runtime_env", "callback_token")
