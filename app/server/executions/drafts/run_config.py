"""`status.run_config` for HTTP and gRPC: its errors are `Problem`s, and JSON is read as strictly as a body."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.contract.json_text import read_json
from agent_runner.app.server.problems import invalid
from agent_runner.clients.mcp import options
from agent_runner.clients.models import budget
from agent_runner.status import run_config
from agent_runner.status.requests import approvals, fair_turns, model_order, retries
from agent_runner.status.run_config import CONFIG, CONTEXT, MAX_LIMIT, OURS, RunConfigError

__all__ = ["CONFIG", "CONTEXT", "MAX_LIMIT", "OURS", "check_annotations", "check_config", "merged", "put_annotations"]
_CANNOT_BE_USED = (
    budget.BudgetError,
    retries.RetryError,
    fair_turns.PriorityError,
    model_order.ModelOrderError,
    approvals.ApprovalError,
)


def check_context(context: Any, where: str = "context") -> dict[str, Any]:
    """Raises INVALID_ARGUMENT."""
    with _told():
        return run_config.check_context(context, where)


def check_config(config: Any, where: str = "config") -> dict[str, Any]:
    """Raises INVALID_ARGUMENT, which names the field and what it may be."""
    with _told():
        return run_config.check_config(config, where)


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Raises INVALID_ARGUMENT for one that cannot be used."""
    with _told():
        run_config.given_in(annotations, _read)
    with _told():
        budget.budget_of(annotations.get(budget.ANNOTATION, ""))
        retries.policy_of({}, annotations)
        fair_turns.priority_of({}, annotations)
        model_order.names_of(annotations.get(model_order.ANNOTATION, ""))
        approvals.rules_of(annotations.get(approvals.ANNOTATION, ""))
    try:
        options.options_of(annotations.get(options.ANNOTATION, ""))
    except options.ToolServerOptionsError as error:
        raise invalid(str(error), next_step="docs/guides/mcp.md has the fields of this annotation.") from None


def retry_policy(agent: Mapping[str, str], execution: Mapping[str, str]) -> retries.RetryPolicy:
    """The policy of an execution, from its annotations and its agent's. Raises INVALID_ARGUMENT."""
    with _told():
        return retries.policy_of(agent, execution)


def priority(agent: Mapping[str, str], execution: Mapping[str, str]) -> int:
    """The priority of an execution in its org. Raises INVALID_ARGUMENT."""
    with _told():
        return fair_turns.priority_of(agent, execution)


def fallback_models(agent: Mapping[str, str], execution: Mapping[str, str]) -> tuple[str, ...]:
    """The models that stand in for the first one, from the annotations of both. Raises INVALID_ARGUMENT."""
    with _told():
        return model_order.names_of(model_order.merged_models(agent, execution) or "") or ()


def models_named(execution: AgentExecution) -> tuple[str, ...]:
    """The models that the execution itself names. Raises INVALID_ARGUMENT."""
    others = fallback_models({}, execution.metadata.annotations)
    return (execution.spec.execution_config.model_name, *others)


def put_annotations(annotations: Any, short: Mapping[str, Any]) -> None:
    """Writes the short form's `context`, `config`, `retry`, `priority` and `fallback_models` into their annotations."""
    context, config, retry = short.get("context"), short.get("config"), short.get("retry")
    if (models := short.get("fallback_models")) is not None:
        with _told():
            annotations[model_order.ANNOTATION] = json.dumps(model_order.checked(models, "fallback_models"))
    if (urgent := short.get("priority")) is not None:
        with _told():
            annotations[fair_turns.ANNOTATION] = str(fair_turns.checked(urgent, "priority"))
    if retry is not None:
        with _told():
            annotations[retries.ANNOTATION] = json.dumps(retries.checked(retry, "retry"))
    if context is not None:
        annotations[CONTEXT] = json.dumps(check_context(context), ensure_ascii=False)
    if config is not None:
        annotations[CONFIG] = json.dumps(check_config(config), ensure_ascii=False)


def merged(agent: Mapping[str, str], execution: Mapping[str, str]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """(context, config): the execution's override the agent's, key by key; the tags are of both. Raises Problem."""
    with _told():
        return run_config.merged(agent, execution, _read)


def _read(text: str, what: str) -> Any:
    return read_json(text.encode(), what)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except _CANNOT_BE_USED as error:
        raise invalid(str(error)) from None
    except RunConfigError as error:
        raise (invalid(str(error), next_step=error.next_step) if error.next_step else invalid(str(error))) from None
