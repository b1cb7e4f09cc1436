"""What orgs with a budget have used: counted in the transaction that accepts an execution, and in that of its end.

For an org without a budget nothing here runs, not even a statement. An org with one has its executions accepted one
after the other, over all servers: two that look at once would both find room.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from agent_runner.status.requests.org_budgets import EXECUTIONS, MOST_AHEAD, OrgBudget, OrgBudgets, Spent
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import OrgBudgetSpent
from agent_runner.status.store.schema import org_use
from agent_runner.status.store.verbs import Orgs, reads

U = org_use.c
KEPT_S = 40 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """It may begin after `wait_s`, and counts in the windows that began then, by the names of windows."""

    wait_s: float
    began: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Of one org in the present window of one of its budgets. `used` has the measures of the budget."""

    org: str
    budget: OrgBudget
    began: float
    used: Mapping[str, float]


class OrgUse(Transactions):
    budgets: OrgBudgets = OrgBudgets()
    """Every server of a store has the same."""

    def room_for(self, connection: Connection, org: str) -> Room | None:
        """None: the org has no budget. The org's use is held until the end of the transaction.

        Raises OrgBudgetSpent."""
        if not (budgets := self.budgets.of(org)):
            return None
        if not self.is_sqlite:
            lock = func.pg_advisory_xact_lock(func.hashtextextended(f"agent_runner.org_use {org}", 0))
            connection.execute(select(lock))
        now = float(connection.scalar(select(NOW), self.params()))
        at = now
        for _ in range(MOST_AHEAD):
            full = self._full_budget(connection, org, budgets, at)
            if full is None:
                return Room(wait_s=at - now, began={one.window: one.began(at) for one in budgets})
            budget, measure, used = full
            free_at = budget.began(at) + budget.seconds
            if not budget.waits:
                break
            at = free_at
        limit = budget.limits[measure]
        raise OrgBudgetSpent(
            Spent(org=org, window=budget.window, measure=measure, used=used, limit=limit, now=now, free_at=free_at)
        )

    def _full_budget(
        self, connection: Connection, org: str, budgets: Sequence[OrgBudget], at: float
    ) -> tuple[OrgBudget, str, float] | None:
        """The first budget without room at this time, the measure, and how much of that is used."""
        for budget in budgets:
            used = self._used(connection, org, budget, budget.began(at))
            if measure := budget.spent(used):
                return budget, measure, used[measure]
        return None

    def count_execution(self, connection: Connection, org: str, room: Room) -> None:
        for window, began in room.began.items():
            self._add(connection, org, window, began, {EXECUTIONS: 1.0})

    def count_use(self, connection: Connection, org: str, used: Mapping[str, float]) -> None:
        """Tokens and costs of an attempt that ended now."""
        if not used or not (budgets := self.budgets.of(org)):
            return
        now = float(connection.scalar(select(NOW), self.params()))
        for budget in budgets:
            wanted = {name: amount for name, amount in used.items() if name in budget.limits and amount > 0}
            self._add(connection, org, budget.window, budget.began(now), wanted)

    @reads(orgs=Orgs.MINE)
    def org_uses(self, connection: Connection, *, org: str) -> list[Use]:
        """The present windows of the org's budgets; without one, of all orgs that have used something or are named."""
        if not self.budgets.on:
            return []
        now = float(connection.scalar(select(NOW), self.params()))
        known = {name for name in self.budgets.by_org if name != "*"}
        known |= set(connection.scalars(select(U.org).where(U.began > now - 2 * 86_400.0).distinct()))
        return [
            Use(org=one, budget=budget, began=began, used=self._used(connection, one, budget, began))
            for one in ([org] if org else sorted(known))
            for budget in self.budgets.of(one)
            for began in (budget.began(now),)
        ]

    def _used(self, connection: Connection, org: str, budget: OrgBudget, began: float) -> dict[str, float]:
        mine = (U.org == org, U.window_name == budget.window, U.began == began)
        return {row.measure: row.used for row in connection.execute(select(U.measure, U.used).where(*mine))}

    def _add(self, connection: Connection, org: str, window: str, began: float, used: Mapping[str, float]) -> None:
        insert: Any = sqlite_insert if self.is_sqlite else postgres_insert
        for measure, amount in used.items():
            its = {"org": org, "window_name": window, "began": began, "measure": measure, "used": amount}
            new = insert(org_use).values(**its)
            added = {"used": org_use.c.used + new.excluded.used}
            keys = ["org", "window_name", "began", "measure"]
            connection.execute(new.on_conflict_do_update(index_elements=keys, set_=added))
        old = (U.org == org, U.window_name == window, U.began < began - KEPT_S)
        if used:
            connection.execute(delete(org_use).where(*old))
