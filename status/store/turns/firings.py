"""The firings of schedules: each time of a schedule is taken once, by whichever server comes first.

A firing and its execution are written in one transaction. One conditional statement takes the time (`take`): it holds
only if the schedule still has this time and was not changed since the firing was decided. So a server that dies between
its decision and the write has fired nothing, and two servers that decide the same make one execution.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, insert, select, update

from agent_runner.status.phases import Phase
from agent_runner.status.schedules.schedule import Firing, FiringOutcome, Mark, Schedule
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.registry.schedules import S, to_schedule
from agent_runner.status.store.schema import executions, schedule_firings, schedules
from agent_runner.status.store.verbs import Orgs, reads, verb, writes

F = schedule_firings.c
LEASE_S = 15.0
"""A schedule that a server works on is left alone by the others for so long, if that server says nothing."""
KEPT = 100
"""Entries of a schedule's history; the oldest go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """`now`: the database's time when it was found."""

    schedule: Schedule
    now: float


def take(
    connection: Connection,
    params: Mapping[str, Any],
    mark: Mark,
    outcome: FiringOutcome,
    *,
    execution_id: str = "",
    code: str = "",
    reason: str = "",
) -> bool:
    """Take the time of this mark and write it into the history, as a part of a transaction. False: somebody else took
    it, or the schedule was changed; nothing is written."""
    mine = [S.id == mark.schedule_id, S.revision == mark.revision]
    changed: dict[str, Any] = {"recorded": S.recorded + 1, "leased_until": 0}
    if mark.due_at is not None:
        mine += [S.next_at == mark.due_at, S.next_at <= NOW, S.paused == 0]
        changed |= {"next_at": FOREVER if mark.next_at is None else mark.next_at, "ended": mark.ended.value}
    if outcome is FiringOutcome.FIRED:
        changed["last_fired_at"] = NOW
        if mark.due_at is not None:
            changed["fired"] = S.fired + 1
        if mark.session_id:  # two firings that both made the session of all firings: the second decides again
            mine.append(S.session_id == "")
            changed["session_id"] = mark.session_id
    statement = update(schedules).where(*mine).values(**changed).returning(S.recorded)
    number = connection.execute(statement, dict(params)).scalar_one_or_none()
    if number is None:
        return False
    entry = insert(schedule_firings).values(
        schedule_id=mark.schedule_id,
        number=number,
        kind=mark.kind,
        due_at=mark.fires_for,
        at=NOW,
        outcome=outcome.value,
        passed_over=mark.passed_over,
        execution_id=execution_id,
        code=code,
        reason=reason,
    )
    connection.execute(entry, dict(params))
    connection.execute(delete(schedule_firings).where(F.schedule_id == mark.schedule_id, F.number <= number - KEPT))
    return True


class Firings(Transactions):
    @verb
    async def take_due_schedules(self, limit: int) -> Sequence[Due]:
        """Schedules whose time has come. For a while no other server gets them, which spares it the work and no more:
        what fires is decided by `take`."""
        # Mostly nothing is due: do not take the writer for that.
        return await self._leased(limit) if await self._any_schedule_due() else []

    @reads
    def _any_schedule_due(self, connection: Connection) -> bool:
        return connection.scalar(_due(1), self.params()) is not None

    @writes
    def _leased(self, connection: Connection, limit: int) -> Sequence[Due]:
        due = _due(limit)
        if not self.is_sqlite:
            due = due.with_for_update(skip_locked=True)
        taken = update(schedules).where(S.id.in_(due), S.leased_until <= NOW).values(leased_until=NOW + LEASE_S)
        rows = connection.execute(taken.returning(schedules), self.params()).all()
        now = float(connection.scalar(select(NOW), self.params()))
        return sorted((Due(schedule=to_schedule(row), now=now) for row in rows), key=lambda due: due.schedule.id)

    @writes(orgs=Orgs.AFTER_A_READ)
    def note_firing(
        self, connection: Connection, mark: Mark, outcome: FiringOutcome, *, code: str = "", reason: str = ""
    ) -> bool:
        """A firing that made no execution. False: the mark does not hold any more, and nothing is written."""
        return take(connection, self.params(), mark, outcome, code=code, reason=reason)

    @reads(orgs=Orgs.AFTER_A_READ)
    def schedule_firings(self, connection: Connection, schedule_id: str, *, limit: int) -> list[Firing]:
        """The newest first, with what became of the executions until now."""
        e = executions.c
        beside = schedule_firings.outerjoin(executions, e.id == F.execution_id)
        found = select(*_SHOWN, e.phase, e.error_code).select_from(beside).where(F.schedule_id == schedule_id)
        return [_firing(row._mapping) for row in connection.execute(found.order_by(F.number.desc()).limit(limit))]


_SHOWN = tuple(column for column in F if column.name != "schedule_id")


def _due(limit: int) -> Select[tuple[str]]:
    due = (S.paused == 0, S.next_at <= NOW, S.leased_until <= NOW)
    return select(S.id).where(*due).order_by(S.next_at).limit(limit)


def _firing(row: Mapping[Any, Any]) -> Firing:
    known = dict(row)
    phase = known.pop("phase")
    return Firing(
        **known | {"outcome": FiringOutcome(known["outcome"]), "error_code": known["error_code"] or ""},
        phase=None if phase is None else Phase(phase),
    )
