"""Budgets of orgs: what an org may use in an hour or a day, over all servers.

    [{"org": "acme", "window": "day", "executions": 500, "tokens": 2000000, "cost": 20, "currency": "USD",
      "reached": "refuse"}]

`org` is one, or `*` for each of the others. A window begins at the full hour, or at midnight UTC. `reached`: `refuse`
what comes then (the default), or let it `wait` for the next window.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HOUR, DAY = "hour", "day"
WINDOWS: Mapping[str, float] = {HOUR: 3600.0, DAY: 86_400.0}
EXECUTIONS, TOKENS, COST = "executions", "tokens", "cost"
REFUSE, WAIT = "refuse", "wait"
OTHERS = "*"
FIELDS = ("org", "window", EXECUTIONS, TOKENS, COST, "currency", "reached")
MOST_AHEAD = 1000
"""So many windows ahead an execution waits at most."""


class BudgetsError(ValueError):
    """The text says which entry cannot be used, and what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgBudget:
    """`limits`: by measure, which is `executions`, `tokens`, or `cost:` and a currency."""

    window: str
    limits: Mapping[str, float]
    waits: bool = False

    @property
    def seconds(self) -> float:
        return WINDOWS[self.window]

    def began(self, now: float) -> float:
        """Of the window of this time; epoch seconds."""
        return math.floor(now / self.seconds) * self.seconds

    def spent(self, used: Mapping[str, float]) -> str:
        """The first measure whose limit is reached; empty if there is room."""
        return next((name for name, limit in self.limits.items() if used.get(name, 0.0) >= limit), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgBudgets:
    by_org: Mapping[str, Sequence[OrgBudget]] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        return bool(self.by_org)

    def of(self, org: str) -> Sequence[OrgBudget]:
        return self.by_org.get(org, self.by_org.get(OTHERS, ())) if self.by_org else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A budget without room. `free_at`: when the next window begins; `now`: by the database's clock."""

    org: str
    window: str
    measure: str
    used: float
    limit: float
    now: float
    free_at: float


def cost_in(currency: str) -> str:
    return f"{COST}:{currency}"


def budgets_of(text: str) -> OrgBudgets:
    """Raises BudgetsError."""
    if not text.strip():
        return OrgBudgets()
    try:
        given = json.loads(text)
    except ValueError:
        raise BudgetsError("must be JSON, a list of budgets") from None
    if not isinstance(given, list):
        raise BudgetsError("must be a list of budgets")
    found: dict[str, list[OrgBudget]] = {}
    for n, entry in enumerate(given, 1):
        org, budget = _budget(entry, f"entry {n}")
        if any(one.window == budget.window for one in found.get(org, ())):
            raise BudgetsError(f"entry {n}: org '{org}' has a budget of each {budget.window} already")
        found.setdefault(org, []).append(budget)
    return OrgBudgets(by_org=found)


def _budget(entry: Any, where: str) -> tuple[str, OrgBudget]:
    if not isinstance(entry, dict) or entry.keys() - set(FIELDS):
        raise BudgetsError(f"{where}: must be an object with some of {', '.join(FIELDS)}")
    org, window, reached = entry.get("org"), entry.get("window"), entry.get("reached", REFUSE)
    if not isinstance(org, str) or not org:
        raise BudgetsError(f"{where}: org must be an org, or {OTHERS!r} for each of the others")
    if not isinstance(window, str) or window not in WINDOWS:
        raise BudgetsError(f"{where}: window must be {HOUR} or {DAY}")
    if reached not in (REFUSE, WAIT):
        raise BudgetsError(f"{where}: reached must be {REFUSE} or {WAIT}")
    currency = entry.get("currency", "")
    if (COST in entry) != bool(currency) or not isinstance(currency, str):
        raise BudgetsError(f"{where}: cost and currency belong together")
    limits = {}
    for name in (EXECUTIONS, TOKENS, COST):
        if name not in entry:
            continue
        limit = entry[name]
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < math.inf:
            raise BudgetsError(f"{where}: {name} must be a number above 0")
        limits[cost_in(currency) if name == COST else name] = float(limit)
    if not limits:
        raise BudgetsError(f"{where}: needs {EXECUTIONS}, {TOKENS} or {COST}")
    return org, OrgBudget(window=window, limits=limits, waits=reached == WAIT)
