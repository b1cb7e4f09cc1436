"""How much a run may do: the annotation `agent-runner/budget`, of an agent and of an execution, as JSON.

    {"model_calls": 50, "tool_calls": 200, "tokens": 400000, "same_calls": 10}

A run that would exceed one ends before the call that does. `tokens` are those that the model has counted, in and out;
it is looked at between calls. `same_calls` bounds calls of one tool with the same arguments. Sub-agents' calls count.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

ANNOTATION = "agent-runner/budget"
LIMITS = ("model_calls", "tool_calls", "tokens", "same_calls")
MOST = 10**12


class BudgetError(ValueError):
    """The text names the field and what it may be."""


def budget_of(annotation: str) -> dict[str, int]:
    """The limits that it gives. Raises BudgetError."""
    if not annotation:
        return {}
    try:
        given = json.loads(annotation)
    except (ValueError, RecursionError) as error:
        raise BudgetError(f"{ANNOTATION} is not JSON: {error}") from None
    if not isinstance(given, dict) or given.keys() - set(LIMITS):
        raise BudgetError(f"{ANNOTATION} must be an object with some of {', '.join(LIMITS)}")
    for name, limit in given.items():
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MOST:
            raise BudgetError(f"{ANNOTATION}.{name} must be a whole number from 1")
    return given


def merged_budget(agent: Mapping[str, str], execution: Mapping[str, str]) -> str:
    """The annotation for the run, from those of both: the lower limit counts, so that nobody raises an agent's."""
    under, over = budget_of(agent.get(ANNOTATION, "")), budget_of(execution.get(ANNOTATION, ""))
    limits = {name: min(one[name] for one in (under, over) if name in one) for name in {**under, **over}}
    return json.dumps(limits, sort_keys=True) if limits else ""


class Spent:
    """What a run has done so far. Each method returns why it may not go on; empty while it may."""

    def __init__(self, limits: Mapping[str, int] | None = None) -> None:
        self.limits = dict(limits or {})
        self.model_calls = self.tool_calls = self.tokens = 0
        self._same: Counter[tuple[str, str]] = Counter()

    def model_call(self) -> str:
        self.model_calls += 1
        return self._over("model_calls", self.model_calls) or self._over("tokens", self.tokens)

    def tool_call(self, name: str, args: Any) -> str:
        self.tool_calls += 1
        if over := self._over("tool_calls", self.tool_calls):
            return over
        if "same_calls" not in self.limits:
            return ""
        call = (name, json.dumps(args, sort_keys=True, default=str))
        self._same[call] += 1
        over = self._over("same_calls", self._same[call])
        return f"{over}: '{name}' with the same arguments each time" if over else ""

    def answered(self, usage: Mapping[str, Any] | None) -> None:
        """The model's own count for one answer; a model that counts nothing is not bounded by it."""
        self.tokens += int((usage or {}).get("total_tokens") or 0)

    def _over(self, name: str, count: int) -> str:
        limit = self.limits.get(name)
        return f"more than {limit} {name}" if limit is not None and count > limit else ""
