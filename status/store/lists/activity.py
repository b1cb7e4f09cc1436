"""What the overview of workers and queues reads: how long what waits has waited, and what began and ended lately."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import OPEN
from agent_runner.status.store.schema import executions, startup_failures
from agent_runner.status.store.verbs import Orgs, reads

E = executions.c
MOST_WAITING = 20_000
MOST_RUNS = 100_000
WAITING_STEPS = (Step.ENSURE_THREAD.value, Step.EXECUTE.value)
"""A worker could take it now. What waits behind another execution of its session is not waiting for a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAge:
    """`waiting` is counted up to `MOST_WAITING`; `oldest_s` by the database's clock."""

    queue: str
    waiting: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimes:
    """One execution that has begun. Epoch seconds; `ended_at` and `phase` None: it runs. `wait_s` None: not known."""

    started_at: float | None
    ended_at: float | None
    phase: Phase | None
    wait_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFailure:
    queue: str
    role: str
    at: float
    text: str


class Activity(Transactions):
    @reads(orgs=Orgs.MINE)
    def queue_ages(self, connection: Connection, *, org: str) -> Sequence[QueueAge]:
        """The queues in which something waits for a worker. `org` empty: of all orgs."""
        oldest_first = (
            select(E.runner_queue, func.coalesce(E.dispatchable_at, E.created_at).label("since"))
            .where(OPEN, E.phase == Phase.PENDING, E.step.in_(WAITING_STEPS), *_of(org))
            .order_by(E.handle)
            .limit(MOST_WAITING)
            .subquery()
        )
        of = oldest_first.c
        ages = select(of.runner_queue, func.count().label("n"), (NOW - func.min(of.since)).label("age"))
        found = connection.execute(ages.group_by(of.runner_queue).order_by(of.runner_queue), self.params())
        return [QueueAge(queue=row.runner_queue, waiting=row.n, oldest_s=max(0.0, row.age)) for row in found]

    @reads(orgs=Orgs.NOBODYS)
    def pending_waits(self, connection: Connection) -> Sequence[float]:
        """How long each pending execution has waited since it was made, or since it may begin; in seconds by the
        database's clock, the longest first. Of the `MOST_WAITING` that were made first."""
        pending = select((NOW - E.created_at).label("age"), (NOW - E.not_before).label("since"))
        found = connection.execute(
            pending.where(OPEN, E.phase == Phase.PENDING).order_by(E.handle).limit(MOST_WAITING), self.params()
        )
        return sorted((max(0.0, min(row.age, row.since)) for row in found), reverse=True)

    @reads(orgs=Orgs.MINE)
    def runs_since(self, connection: Connection, since: float, *, org: str) -> Sequence[RunTimes]:
        """What ended at `since` or later, oldest end first, and what runs and began then or later."""
        columns = (E.phase, E.completed_at, E.claimed_at, E.dispatchable_at, E.attempt)
        ended = select(*columns).where(E.completed_at >= since, *_of(org)).order_by(E.completed_at).limit(MOST_RUNS)
        began = select(*columns).where(OPEN, E.phase == Phase.IN_PROGRESS, E.claimed_at >= since, *_of(org))
        rows = [*connection.execute(ended), *connection.execute(began.limit(MOST_RUNS))]
        return [
            RunTimes(
                started_at=row.claimed_at,
                ended_at=row.completed_at,
                phase=Phase(row.phase) if row.completed_at is not None else None,
                wait_s=max(0.0, row.claimed_at - row.dispatchable_at)
                if row.claimed_at is not None and row.dispatchable_at is not None and row.attempt <= 1
                else None,
            )
            for row in rows
        ]

    @reads(orgs=Orgs.NOBODYS)
    def startup_failures(self, connection: Connection) -> Sequence[StartFailure]:
        """The last failed start of each queue that has had none that succeeded since; newest first."""
        rows = connection.execute(select(startup_failures).order_by(startup_failures.c.at.desc()).limit(100))
        return [StartFailure(queue=row.queue, role=row.role, at=row.at, text=row.text) for row in rows]


def _of(org: str) -> list[ColumnElement[bool]]:
    return [E.org == org] if org else []
