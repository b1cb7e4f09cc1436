"""The outbox: messages to publish or to publish again, and the removal of executions."""

from typing import Any

from sqlalchemy import ClauseElement, Select, and_, case, delete, select, update

from agent_runner.status.phases import TERMINAL_PHASES, Step
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.ready import ready, text_of
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import OPEN, E, Ending
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import execution_log, execution_snapshots, executions
from agent_runner.status.store.turns.answer_tokens import give_back_answer
from agent_runner.status.store.verbs import Orgs, reads, verb, writes
from agent_runner.status.timeouts import RESEND_UNSTAMPED_S


def _due(limit: int) -> Select[tuple[int]]:
    return select(E.handle).where(OPEN, E.next_dispatch_at <= NOW).order_by(E.next_dispatch_at).limit(limit)


TO_START = (Step.ENSURE_THREAD.value, Step.EXECUTE.value)
"""The steps that wait for a worker."""


@ready
def _dispatched() -> ClauseElement:
    stamps = {"dispatched_at": NOW, "due_schedule_to_start": NOW + E.limit_schedule_to_start}
    return (
        update(executions)
        .where(E.id == text_of("its_id"), E.step.in_(TO_START), E.dispatched_at.is_(None))
        .values(next_dispatch_at=NOW + E.limit_schedule_to_start / 3, **stamps)
    )


@ready
def _any_due() -> ClauseElement:
    return _due(1)


class Outbox(Ending):
    @writes(alone=True, short=True)
    def dispatched(self, connection: Connection, id: str) -> None:
        """The step's message is published: its schedule-to-start clock starts, once."""
        connection.run(_dispatched(), **self.params(its_id=id))

    @verb
    async def due_for_dispatch(self, limit: int = 200) -> list[Execution]:
        """Rows to publish (again): unstamped ones after 10 s, unclaimed ones at 1/3 and 2/3 of schedule-to-start."""
        # Mostly nothing is due: do not take the writer for that.
        return await self._stamped(limit) if await self._any_due() else []

    @reads(alone=True)
    def _any_due(self, connection: Connection) -> bool:
        return connection.first(_any_due(), **self.params()) is not None

    @writes
    def _stamped(self, connection: Connection, limit: int) -> list[Execution]:
        two_thirds = E.dispatched_at + E.limit_schedule_to_start * (2 / 3)
        again = case(
            (E.dispatched_at.is_(None), NOW + RESEND_UNSTAMPED_S), (two_thirds > NOW, two_thirds), else_=FOREVER
        )
        due = _due(limit)
        if not self.is_sqlite:
            due = due.with_for_update(skip_locked=True)
        rows = connection.execute(
            update(executions)
            .where(E.handle.in_(due), E.step.in_(TO_START))
            .values(next_dispatch_at=again)
            .returning(executions),
            self.params(),
        )
        return [to_execution(r) for r in rows]

    @verb(orgs=Orgs.AFTER_A_READ)
    async def withdraw(self, id: str) -> bool:
        """Remove an execution that could not be published, only if it was never published and never started."""
        before = E.step.in_((Step.WAITING.value, Step.ENSURE_THREAD.value))
        never = and_(E.dispatched_at.is_(None), E.attempt == 0, before)
        return await self._remove(id, never, ended=False)

    @verb(orgs=Orgs.EXECUTION)
    async def delete(self, id: str) -> bool:
        """Remove an execution that has ended, with its log."""
        return await self._remove(id, E.phase >= min(TERMINAL_PHASES), ended=True)

    @writes
    def _remove(self, connection: Connection, id: str, condition: Any, *, ended: bool) -> bool:
        self.hold_sessions(connection, E.id == id)
        statement = delete(executions).where(E.id == id, condition).returning(E.handle, E.session_id)
        row = connection.execute(statement).one_or_none()
        if row is None:
            return False
        for table in (execution_log, execution_snapshots):
            connection.execute(delete(table).where(table.c.handle == row.handle))
        if not ended:
            give_back_answer(connection, row.session_id, execution_id=id)
        self.promote(connection, row.session_id)
        return True
