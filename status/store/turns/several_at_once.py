"""What a new execution does to those of its session that have not ended, and executions that may begin only later.

All of it happens in the transaction of the create that asks for it, while that holds the session. So it holds across
servers and for messages that come twice: whoever comes later finds the rows as they are then.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, exists, or_, select, update

from agent_runner.status.failures import Code
from agent_runner.status.phases import CANCEL_PENDING, TERMINAL_PHASES, Phase, Step
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import OPEN, E, End, Ending
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import execution_log, execution_snapshots, executions, session_facts
from agent_runner.status.store.tables.turn_records import READY
from agent_runner.status.store.verbs import Orgs, reads, verb, writes

SUPERSEDED = "a newer execution of its session"
KEPT_S = 60.0
"""A rolled-back execution stays this long after its end, for readers of its stream and for its worker's last report."""
BATCH = 100


def holds_session() -> ColumnElement[bool]:
    """The execution has not ended, and is not one that may begin only later."""
    return and_(OPEN, or_(E.step != Step.WAITING.value, E.not_before <= NOW))


class Multitasking(Ending):
    def supersede(self, connection: Connection, session_id: str, strategy: Multitask) -> list[Row[Any]]:
        """Cancel the open executions of the session, which the caller holds. Returns them as they are now: those that
        run end when their worker has stopped, all others have ended."""
        mine = (E.session_id == session_id, OPEN)
        if strategy is Multitask.ROLLBACK:
            connection.execute(update(executions).where(*mine).values(rolled_back=1))
        waiting_first = (E.step != Step.WAITING.value, E.handle)  # else the end of another one would admit them
        handles = list(connection.scalars(select(E.handle).where(*mine).order_by(*waiting_first)))
        for handle in handles:
            self._cancel(connection, SUPERSEDED, E.handle == handle)
        return list(connection.execute(select(executions).where(E.handle.in_(handles))))

    def _cancel(self, connection: Connection, by: str, mine: ColumnElement[bool]) -> None:
        """Ends it if it does not run, else asks its worker."""
        end = End(phase=Phase.CANCELLED, code=Code.CANCELLED, facts={"by": by})
        if self.end_row(connection, end, mine, edge=CANCEL_PENDING) is None:
            asked = {"cancel_requested_at": NOW, "cancelled_by": by, "due_cancel": NOW + E.limit_cancel}
            running = (mine, E.step == Step.RUNNING.value, E.cancel_requested_at.is_(None))
            connection.execute(update(executions).where(*running).values(**asked), self.params())

    @writes(orgs=Orgs.EXECUTION)
    def roll_back(self, connection: Connection, id: str, by: str) -> Execution | None:
        """Request a cancel that removes the execution and what it did to the session's memory."""
        self.hold_sessions(connection, E.id == id)
        connection.execute(update(executions).where(E.id == id, OPEN).values(rolled_back=1))
        self._cancel(connection, by, E.id == id)
        row = connection.execute(select(executions).where(E.id == id)).one_or_none()
        return to_execution(row) if row else None

    @writes(orgs=Orgs.EXECUTION)
    def undo_ended(self, connection: Connection, id: str) -> bool:
        """Remove an execution that has ended. If none of its session ran after it, the session's memory is again as it
        was before; the next run of the session removes its checkpoints."""
        later = executions.alias("later")
        self.hold_sessions(connection, E.id == id)
        gone = update(executions).where(E.id == id, E.phase >= min(TERMINAL_PHASES), E.rolled_back == 0)
        changed = gone.values(rolled_back=1, settled_fence=0, waiting=0).returning(executions)
        row = connection.execute(changed).one_or_none()
        if row is None:
            return False
        ran_after = select(later.c.handle).where(
            later.c.session_id == row.session_id,
            later.c.handle > row.handle,
            later.c.claimed_at.is_not(None),
            later.c.rolled_back == 0,
        )
        if row.base_given and connection.scalar(ran_after.limit(1)) is None:
            facts = session_facts.c.session_id == row.session_id
            undone = update(session_facts).where(facts).values(head_checkpoint_id=row.base_checkpoint_id)
            connection.execute(undone)
        return True

    @verb
    async def admit_due(self) -> Sequence[str]:
        """Admit executions whose time has come, of sessions in which none is active. Their ids."""
        # Mostly nothing is due: do not take the writer for that.
        admitted = [await self._admit(session_id) for session_id in await self._sessions_due()]
        return [id for id in admitted if id]

    @reads
    def _sessions_due(self, connection: Connection) -> list[str]:
        due = and_(E.step == Step.WAITING.value, E.not_before > 0, E.not_before <= NOW)
        other = executions.alias("active")
        active = other.c.step != Step.WAITING.value
        if self.turns.on:
            active = or_(active, other.c.ready_at > 0)
        else:  # what a server has left that let orgs take turns
            due = or_(due, and_(READY, E.step == Step.WAITING.value))
        free = ~exists().where(other.c.session_id == E.session_id, other.c.phase < min(TERMINAL_PHASES), active)
        return list(connection.scalars(select(E.session_id).where(due, free).distinct().limit(BATCH), self.params()))

    @writes
    def _admit(self, connection: Connection, session_id: str) -> str:
        self.hold_sessions(connection, E.session_id == session_id)
        return self.promote(connection, session_id)

    @verb
    async def remove_rolled_back(self) -> int:
        """Remove the rows of rolled-back executions that ended a while ago. One that its worker did not report stays
        until another execution of its session has run: that one removes what it left in memory."""
        handles = await self._over()
        if handles:
            await self._remove_all(handles)
        return len(handles)

    @reads
    def _over(self, connection: Connection) -> list[int]:
        later = executions.alias("later")
        tidied = exists().where(
            later.c.session_id == E.session_id, later.c.handle > E.handle, later.c.claimed_at.is_not(None)
        )
        over = and_(
            E.rolled_back == 1,
            E.completed_at <= NOW - KEPT_S,
            or_(E.settled_fence > 0, E.claimed_at.is_(None), tidied),
        )
        return list(connection.scalars(select(E.handle).where(over).limit(BATCH), self.params()))

    @writes
    def _remove_all(self, connection: Connection, handles: Sequence[int]) -> None:
        connection.execute(delete(executions).where(E.handle.in_(handles)))
        for table in (execution_log, execution_snapshots):
            connection.execute(delete(table).where(table.c.handle.in_(handles)))

    @reads(orgs=Orgs.LISTS)
    def runs_of_session(
        self,
        connection: Connection,
        session_id: str,
        *,
        limit: int,
        offset: int = 0,
        phases: Sequence[Phase] = (),
        codes: Sequence[str] = (),
        without_codes: Sequence[str] = (),
    ) -> list[Execution]:
        """The executions of a session without rolled-back ones, the newest first. `codes`, `without_codes`: those that
        failed with one of these, or not with one of these."""
        chosen = [E.session_id == session_id, E.rolled_back == 0]
        if phases:
            chosen.append(E.phase.in_([int(phase) for phase in phases]))
        if codes:
            chosen.append(E.error_code.in_(codes))
        if without_codes:
            chosen.append(E.error_code.not_in(without_codes))
        query = select(executions).where(*chosen).order_by(E.handle.desc()).limit(limit).offset(offset)
        return [to_execution(row) for row in connection.execute(query)]
