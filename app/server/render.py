"""An execution as its readers see it: the row's facts and the folded log, as the contract's AgentExecution.

`execution_json` is protobuf JSON with the original field names, plus `output` and `redriven_from` where there are any;
`execution_message` is the same as a message, without these two.
"""

from collections.abc import Mapping
from typing import Any

from ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from google.protobuf import json_format
from google.protobuf.message import Message

from status.log import State, render, rfc3339
from status.store.records import Execution

API_VERSION = "agentic.stigmer.ai/v1"
EXTRAS = ("output", "redriven_from")
"""What our JSON has and the contract has not."""


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
    if first := state.messages.get("user") or next(human, None):  # updateStatus may have replaced the list
        shown["spec"]["message"] = "".join(first["content"])
    if state.output is not None:
        shown["output"] = state.output
    if execution.redriven_from:
        shown["redriven_from"] = execution.redriven_from
    return shown


def execution_message(execution: Execution, state: State) -> AgentExecution:
    return execution_from_json(execution_json(execution, state))


def execution_from_json(shown: Mapping[str, Any]) -> AgentExecution:
    contract = {name: value for name, value in shown.items() if name not in EXTRAS}
    return json_format.ParseDict(contract, AgentExecution(), ignore_unknown_fields=True)


def as_json(message: Message) -> dict[str, Any]:
    """Protobuf JSON with the original field names, defaults left out."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _identity(execution: Execution) -> dict[str, Any]:
    return {"id": execution.id, "name": execution.name, "slug": execution.slug, "org": execution.org}


def _audit(execution: Execution) -> dict[str, Any]:
    created = rfc3339(execution.created_at)
    touched = [execution.created_at, execution.claimed_at, execution.last_beat_at, execution.completed_at]
    latest = rfc3339(execution.completed_at or max(at for at in touched if at))
    return {
        "spec_audit": {"created_at": created, "updated_at": created, "event": "created"},
        "status_audit": {"created_at": created, "updated_at": latest, "event": "updated"},
    }
