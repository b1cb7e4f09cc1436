"""An update of an accepted execution replaces its name, labels, annotations and tags as a whole.

All fields that decide how it runs stay as they were accepted. An update may send them as they are shown, or leave them
out. Any other value is refused, because the change would have no effect. The status is ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.executions.drafts.draft import Draft
from agent_runner.app.server.executions.view import as_json
from agent_runner.app.server.problems import failed_precondition
from agent_runner.status.requests import webhooks
from agent_runner.status.store.records import Execution

OWN = "agent-runner/"
"""Annotations with this prefix decide how an execution runs."""
FREE = ("labels", "annotations", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    name: str
    spec: dict[str, Any]
    """The whole document of the row, `{"metadata", "spec"}`."""


def amended(execution: Execution, said: str, draft: Draft) -> Amendment | None:
    """The execution with the update applied; None if the update changes nothing. `said`: its message.

    Raises FAILED_PRECONDITION, which names every field that cannot be changed and shows no value.
    """
    hook = [f"metadata.annotations[{webhooks.ANNOTATION!r}]"] if draft.webhook else []
    if changed := sorted([*hook, *_changed(execution, said, draft.execution)]):
        raise failed_precondition(
            f"{', '.join(changed)} of an accepted execution cannot be changed",
            next_step="Send these as they are shown (secrets as '***'), or leave them out; or create a new execution.",
        )
    before = execution.spec.get("metadata", {})
    given = as_json(draft.execution).get("metadata", {})
    metadata = {name: given[name] for name in FREE if given.get(name)}
    if annotations := _own(before) | given.get("annotations", {}):
        metadata["annotations"] = annotations
    name = draft.execution.metadata.name or execution.name
    if (name, metadata) == (execution.name, before):
        return None
    return Amendment(name=name, spec={**execution.spec, "metadata": metadata})


def _changed(execution: Execution, said: str, given: AgentExecution) -> Iterator[str]:
    fixed = {
        "metadata.org": (given.metadata.org, execution.org),
        "spec.session_id": (given.spec.session_id, execution.session_id),
        "spec.agent_id": (given.spec.agent_id, execution.agent_id),
        "spec.message": (given.spec.message, said),
        "spec.execution_config": (given.spec.execution_config.model_name, execution.model_name),
    }
    yield from (field for field, (sent, kept) in fixed.items() if sent not in ("", kept))
    shown, before = as_json(given), execution.spec
    for name in ("runtime_env", "callback_token"):
        # A secret in clear differs from the '***' that is shown. The stored value is never compared.
        if (value := shown.get("spec", {}).get(name)) and value != before.get("spec", {}).get(name):
            yield f"spec.{name}"
    own = _own(before.get("metadata", {}))
    for name, text in _own(shown.get("metadata", {})).items():
        if own.get(name) != text:
            yield f"metadata.annotations[{name!r}]"


def _own(metadata: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in metadata.get("annotations", {}).items() if name.startswith(OWN)}
