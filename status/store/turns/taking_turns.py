"""Orgs take turns: what is published next is decided here, in one transaction at a time over all servers.

Broker and workers see only what has had its turn. Nothing of this runs where no cap is set.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from agent_runner.status.phases import ADMIT, Step
from agent_runner.status.requests.fair_turns import Standing, Turn, next_turns
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.edges import take
from agent_runner.status.store.executions.ending import E, Ending
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import org_turns, session_facts
from agent_runner.status.store.tables.turn_records import ADMITTED as UNDER_WAY
from agent_runner.status.store.tables.turn_records import READY
from agent_runner.status.store.turns.admission import ADMITTED, busy_elsewhere
from agent_runner.status.store.verbs import Orgs, reads, verb, writes
from agent_runner.status.timeouts import RESEND_UNSTAMPED_S

TO_CLAIM = (Step.ENSURE_THREAD.value, Step.THREAD_STARTED.value, Step.EXECUTE.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgStanding:
    """One org on one queue. `oldest_s`: how long the first of `ready` has waited for its turn; 0 without any."""

    queue: str
    org: str
    ready: int
    oldest_s: float
    published: int
    under_way: int
    """Have had their turn and have not ended: published, or running."""


class TakingTurns(Ending):
    @verb
    async def take_turns(self, most: int) -> list[Execution]:
        """Admit executions whose turn it is, at most so many. The caller publishes them; if that fails, the resender
        does. Empty where no cap is set."""
        # Mostly nothing waits: do not take the writer for that.
        return await self._take_turns(most) if self.turns.on and await self._any_ready() else []

    @reads(orgs=Orgs.MINE)
    def turn_standings(self, connection: Connection, *, org: str) -> Sequence[OrgStanding]:
        """The orgs that have executions waiting for a turn or under way, by queue. `org` empty: all."""
        ready = {(row.runner_queue, row.org): row for row in connection.execute(_ready_counts(), self.params())}
        active = {(row.runner_queue, row.org): row for row in connection.execute(_active_counts(), self.params())}
        return [
            OrgStanding(
                queue=key[0],
                org=key[1],
                ready=ready[key].n if key in ready else 0,
                oldest_s=max(0.0, ready[key].oldest_s) if key in ready else 0.0,
                published=active[key].published if key in active else 0,
                under_way=active[key].n if key in active else 0,
            )
            for key in sorted(ready.keys() | active.keys())
            if not org or key[1] == org
        ]

    @reads
    def _any_ready(self, connection: Connection) -> bool:
        return connection.scalar(select(E.handle).where(READY).limit(1)) is not None

    @writes
    def _take_turns(self, connection: Connection, most: int) -> list[Execution]:
        if not self.is_sqlite:  # one after the other: two that count at once would both find room
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("agent_runner.turns", 0))))
        taken: list[Execution] = []
        for turns in _by_org(self._decided(connection, most)):
            admitted = self._admit_ready(connection, turns[0].queue, turns[0].org, len(turns))
            if admitted:  # one whose session is held now has its turn later
                self._keep(connection, turns[len(admitted) - 1])
            taken += admitted
        return taken

    def _decided(self, connection: Connection, most: int) -> list[Turn]:
        t = org_turns.c
        active = list(connection.execute(_active_counts(), self.params()))
        published = {(row.runner_queue, row.org): row.published for row in active}
        running: dict[str, int] = {}
        for row in active:
            running[row.org] = running.get(row.org, 0) + row.n
        clock = select(t.queue, func.max(t.began).label("at")).group_by(t.queue)
        passed = {(row.queue, row.org): row.passed for row in connection.execute(select(org_turns))}
        ready = {(row.runner_queue, row.org): row.n for row in connection.execute(_ready_counts(), self.params())}
        standings = [
            Standing(
                queue=key[0],
                org=key[1],
                ready=ready.get(key, 0),
                published=published.get(key, 0),
                passed=passed.get(key, 0.0),
            )
            for key in sorted(ready.keys() | published.keys())
        ]
        clocks = {row.queue: row.at for row in connection.execute(clock)}
        return next_turns(self.turns, standings, running, clocks, most)

    def _admit_ready(self, connection: Connection, queue: str, org: str, count: int) -> list[Execution]:
        of_org = (READY, E.runner_queue == queue, E.org == org)
        first = select(E.handle).where(*of_org).order_by(E.priority.desc(), E.handle).limit(count)
        handles = list(connection.scalars(first))
        mine: list[ColumnElement[bool]] = [E.handle.in_(handles), E.ready_at > 0, ~busy_elsewhere()]
        if not self.is_sqlite:  # those that another transaction works on now come a moment later
            held = self.hold_sessions(connection, E.handle.in_(handles), wait=False)
            unknown = ~exists().where(session_facts.c.session_id == E.session_id)
            mine.append(or_(E.session_id.in_(held), unknown))
        admitted = take(ADMIT, *mine, next_dispatch_at=NOW + RESEND_UNSTAMPED_S, **ADMITTED)
        rows = connection.execute(admitted, self.params())
        return sorted(map(to_execution, rows), key=lambda one: handles.index(one.handle))

    def _keep(self, connection: Connection, turn: Turn) -> None:
        insert = sqlite_insert if self.is_sqlite else postgres_insert
        at = {"began": turn.began, "passed": turn.passed}
        row = insert(org_turns).values(queue=turn.queue, org=turn.org, **at)
        connection.execute(row.on_conflict_do_update(index_elements=["queue", "org"], set_=at))


def _by_org(turns: Iterable[Turn]) -> Iterable[list[Turn]]:
    """The turns of each org on each queue, in their order."""
    found: dict[tuple[str, str], list[Turn]] = {}
    for turn in turns:
        found.setdefault((turn.queue, turn.org), []).append(turn)
    return found.values()


def _ready_counts() -> Any:
    counted = (func.count().label("n"), (NOW - func.min(E.ready_at)).label("oldest_s"))
    return select(E.runner_queue, E.org, *counted).where(READY).group_by(E.runner_queue, E.org)


def _active_counts() -> Any:
    to_claim = and_(E.step.in_(TO_CLAIM), E.not_before <= NOW)
    counted = (func.count().label("n"), func.sum(case((to_claim, 1), else_=0)).label("published"))
    return select(E.runner_queue, E.org, *counted).where(UNDER_WAY).group_by(E.runner_queue, E.org)
