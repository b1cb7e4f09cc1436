"""`status.run_config` for HTTP and gRPC: its errors are `Problem`s, and JSON is read as strictly as a body."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agent_runner.app.server.contract.json_text import read_json
from agent_runner.app.server.problems import invalid
from agent_runner.clients.mcp import options
from agent_runner.clients.models import budget
from agent_runner.status import run_config
from agent_runner.status.requests import fair_turns, retries
from agent_runner.status.run_config import CONFIG, CONTEXT, MAX_LIMIT, OURS, RunConfigError

__all__ = ["CONFIG", "CONTEXT", "MAX_LIMIT", "OURS", "check_annotations", "check_config", "merged", "put_annotations"]


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


def put_annotations(annotations: Any, body: Mapping[str, Any]) -> None:
    """Writes the short form's `context`, `config`, `retry` and `priority` into the annotations that keep them."""
    context, config, retry = (body.get(name) for name in ("context", "config", "retry"))
    if (urgent := body.get("priority")) is not None:
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
    except (budget.BudgetError, retries.RetryError, fair_turns.PriorityError) as error:
        raise invalid(str(error)) from None
    except RunConfigError as error:
        raise (invalid(str(error), next_step=error.next_step) if error.next_step else invalid(str(error))) from None
