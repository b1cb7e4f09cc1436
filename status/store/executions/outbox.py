"""The outbox: messages to publish or to publish again, and the removal of executions."""

from typing import Any

from sqlalchemy import and_, case, delete, select, update

from agent_runner.status.phases import TERMINAL_PHASES, Step
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.executions.ending import OPEN, E, Ending
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import execution_log, execution_snapshots, executions
from agent_runner.status.store.verbs import Orgs, verb
from agent_runner.status.timeouts import RESEND_UNSTAMPED_S

TO_START = (Step.ENSURE_THREAD.value, Step.EXECUTE.value)
"""The steps that wait for a worker."""


class Outbox(Ending):
    @verb
    async def dispatched(self, id: str) -> None:
        """The step's message is published: its schedule-to-start clock starts, once."""
        async with self.write() as connection:
            await connection.execute(
                update(executions)
                .where(E.id == id, E.step.in_(TO_START), E.dispatched_at.is_(None))
                .values(
                    dispatched_at=NOW,
                    due_schedule_to_start=NOW + E.limit_schedule_to_start,
                    next_dispatch_at=NOW + E.limit_schedule_to_start / 3,
                ),
                self.params(),
            )

    @verb
    async def due_for_dispatch(self, limit: int = 200) -> list[Execution]:
        """Rows to publish (again): unstamped ones after 10 s, unclaimed ones at 1/3 and 2/3 of schedule-to-start."""
        two_thirds = E.dispatched_at + E.limit_schedule_to_start * (2 / 3)
        again = case(
            (E.dispatched_at.is_(None), NOW + RESEND_UNSTAMPED_S), (two_thirds > NOW, two_thirds), else_=FOREVER
        )
        due = select(E.handle).where(OPEN, E.next_dispatch_at <= NOW).order_by(E.next_dispatch_at).limit(limit)
        async with self.read() as connection:  # mostly nothing is due: do not take the writer for that
            if await connection.scalar(due.limit(1), self.params()) is None:
                return []
        if not self.is_sqlite:
            due = due.with_for_update(skip_locked=True)
        async with self.write() as connection:
            rows = await connection.execute(
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
        never = and_(E.dispatched_at.is_(None), E.step.in_((Step.WAITING.value, Step.ENSURE_THREAD.value)))
        return await self._remove(id, never)

    @verb(orgs=Orgs.EXECUTION)
    async def delete(self, id: str) -> bool:
        """Remove an execution that has ended, with its log."""
        return await self._remove(id, E.phase >= min(TERMINAL_PHASES))

    async def _remove(self, id: str, condition: Any) -> bool:
        async with self.write() as connection:
            await self.hold_sessions(connection, E.id == id)
            statement = delete(executions).where(E.id == id, condition).returning(E.handle, E.session_id)
            row = (await connection.execute(statement)).one_or_none()
            if row is None:
                return False
            for table in (execution_log, execution_snapshots):
                await connection.execute(delete(table).where(table.c.handle == row.handle))
            await self.promote(connection, row.session_id)
            return True
