"""How much an execution may do: the annotation `agent-runner/budget`, of an agent and of an execution, as JSON.

    {"model_calls": 50, "tool_calls": 200, "tokens": 400000, "same_calls": 10, "tool_seconds": 600}

An execution that would exceed one ends before the call that does. `tokens` are those that the model has counted, in and
out; it is looked at between calls, and so is `cost`, in each currency of the operator's prices. `same_calls` bounds
calls of one tool with the same arguments. `tool_seconds` is the time of all tool calls together; a call that reaches it
is stopped. Sub-agents' calls count, and so does what earlier attempts and earlier workers of the execution did.

With `"reached": "ask"` a person is asked instead, before the model's next call: the calls of tools that it made last
run first. Who says `go on` gives as much again.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from agent_runner.status.usage.model_usage import Priced

ANNOTATION = "agent-runner/budget"
OWNERS = "agent-runner/budget-of"
"""Written by the server for the worker: whose limit each one is (`agent` or `execution`), as JSON."""
LIMITS = ("model_calls", "tool_calls", "tokens", "same_calls", "tool_seconds", "cost")
COST = "cost"
REACHED, END, ASK = "reached", "end", "ask"
MOST = 10**12
AGENT, EXECUTION = "agent", "execution"
_WHOSE = {AGENT: "the limit of its agent", EXECUTION: "its own limit"}


class BudgetError(ValueError):
    """The text names the field and what it may be."""


def budget_of(annotation: str) -> dict[str, float]:
    """The limits that it gives. Raises BudgetError."""
    return {name: limit for name, limit in _read(annotation).items() if name != REACHED}


def _read(annotation: str) -> dict[str, Any]:
    if not annotation:
        return {}
    try:
        given = json.loads(annotation)
    except (ValueError, RecursionError) as error:
        raise BudgetError(f"{ANNOTATION} is not JSON: {error}") from None
    if not isinstance(given, dict) or given.keys() - {*LIMITS, REACHED}:
        raise BudgetError(f"{ANNOTATION} must be an object with some of {', '.join((*LIMITS, REACHED))}")
    if given.get(REACHED, END) not in (END, ASK):
        raise BudgetError(f"{ANNOTATION}.{REACHED} must be {END} or {ASK}")
    for name, limit in given.items():
        if name == REACHED:
            continue
        if name == COST:
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= MOST:
                raise BudgetError(f"{ANNOTATION}.{COST} must be a number above 0")
        elif isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MOST:
            raise BudgetError(f"{ANNOTATION}.{name} must be a whole number from 1")
    return given


def merged_budget(agent: Mapping[str, str], execution: Mapping[str, str]) -> dict[str, str]:
    """The annotations for the run, from those of both: the lower limit counts, so that nobody raises an agent's. Empty
    if there is no limit."""
    under, over = budget_of(agent.get(ANNOTATION, "")), budget_of(execution.get(ANNOTATION, ""))
    reached = _reached(_read(agent.get(ANNOTATION, "")), _read(execution.get(ANNOTATION, "")))
    limits = {name: min(one[name] for one in (under, over) if name in one) for name in {**under, **over}}
    owners = {name: AGENT if under.get(name) == limit else EXECUTION for name, limit in limits.items()}
    told = {**owners, REACHED: reached} if reached == ASK else owners
    return {ANNOTATION: json.dumps(limits, sort_keys=True), OWNERS: json.dumps(told)} if limits else {}


def _reached(agent: Mapping[str, Any], execution: Mapping[str, Any]) -> str:
    """Who starts an execution cannot make a question of a limit that its agent ends at."""
    under, over = agent.get(REACHED, END if agent else ASK), execution.get(REACHED)
    return END if END in (under, over) or (over is None and not agent) else ASK


def spent_in(messages: Mapping[str, Mapping[str, Any]], tool_calls: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What an execution did so far, from its state (`status/log/state.py`). `same`: counts by name and arguments."""
    answers = [m for key, m in messages.items() if m.get("type") == "MESSAGE_AI" and key != "interrupt"]
    usages = [(message.get("metadata") or {}).get("usage") or {} for message in answers]
    calls = list(tool_calls.values())
    same = Counter(_call(str(call.get("name", "")), call.get("args") or {}) for call in calls)
    return {
        "model_calls": len(answers),
        "tool_calls": len(calls),
        "tokens": sum(int(usage.get("total_tokens") or 0) for usage in usages),
        "costs": _sums((message.get("metadata") or {}).get("cost") for message in answers),
        "tool_seconds": round(sum(_took_s(call) for call in calls), 3),
        "same": dict(same),
    }


class Spent:
    """What an execution has done so far. Each method returns why it may not go on; empty while it may. `before`: what
    its earlier owners did (`spent_in`)."""

    def __init__(
        self,
        limits: Mapping[str, float] | None = None,
        *,
        owners: Mapping[str, str] | None = None,
        before: Mapping[str, Any] | None = None,
        priced: Priced | None = None,
    ) -> None:
        self.limits, self._owners, before = dict(limits or {}), dict(owners or {}), before or {}
        self.model_calls = int(before.get("model_calls", 0))
        self.tool_calls = int(before.get("tool_calls", 0))
        self.tokens = int(before.get("tokens", 0))
        self.tool_seconds = float(before.get("tool_seconds", 0.0))
        self.costs: dict[str, float] = dict(before.get("costs") or {})
        """By currency."""
        self._priced = priced
        self._same: Counter[str] = Counter(before.get("same") or {})
        self.asks = self._owners.get(REACHED) == ASK
        """A person is asked where a limit is reached."""
        self._reached = ""

    def model_call(self) -> str:
        self.model_calls += 1
        over = self._over("model_calls", self.model_calls) or self._over("tokens", self.tokens)
        over = over or self._over(COST, max(self.costs.values(), default=0.0))
        return over or (self._reached or self.time_over() if self.asks else "")

    def tool_call(self, name: str, args: Any) -> str:
        """Where a person is asked, that is done before the model's next call, and this call runs."""
        over = self._tool_call(name, args)
        if self.asks:
            self._reached, over = self._reached or over, ""
        return over

    def _tool_call(self, name: str, args: Any) -> str:
        self.tool_calls += 1
        if over := self._over("tool_calls", self.tool_calls) or self.time_over():
            return over
        if "same_calls" not in self.limits:
            return ""
        call = _call(name, args)
        self._same[call] += 1
        over = self._over("same_calls", self._same[call])
        return f"{over}: '{name}' with the same arguments each time" if over else ""

    def answered(self, usage: Mapping[str, Any] | None, model: str = "") -> None:
        """The model's own count for one answer; a model that counts nothing is not bounded by it, nor one without a
        price by its cost."""
        used = usage or {}
        self.tokens += int(used.get("total_tokens") or 0)
        if self._priced and used and (cost := self._priced(model, used)):
            self.costs[cost.currency] = self.costs.get(cost.currency, 0.0) + cost.amount

    def tool_left_s(self) -> float | None:
        """How long the next tool call may take; None: there is no limit."""
        limit = self.limits.get("tool_seconds")
        return None if limit is None or self.asks else max(0.0, limit - self.tool_seconds)

    def time_over(self) -> str:
        """Why no further tool call may begin."""
        limit = self.limits.get("tool_seconds")
        return self._said("tool_seconds") if limit is not None and self.tool_seconds >= limit else ""

    def _over(self, name: str, count: float) -> str:
        limit = self.limits.get(name)
        return self._said(name) if limit is not None and count > limit else ""

    def _said(self, name: str) -> str:
        whose = _WHOSE.get(self._owners.get(name, ""), "")
        return f"more than {self.limits[name]} {name}" + (f", {whose}" if whose else "")


def _sums(costs: Iterable[Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for cost in costs:
        if isinstance(cost, Mapping) and isinstance(cost.get("amount"), int | float):
            currency = str(cost.get("currency") or "")
            found[currency] = found.get(currency, 0.0) + cost["amount"]
    return found


def _call(name: str, args: Any) -> str:
    return json.dumps([name, args], sort_keys=True, default=str)


def _took_s(call: Mapping[str, Any]) -> float:
    begun, ended = call.get("started_at"), call.get("completed_at")
    timed = isinstance(begun, int | float) and isinstance(ended, int | float) and call.get("name") != "task"
    return max(0.0, ended - begun) if timed else 0.0  # type: ignore[operator]
