"""Cancel: a waiting execution ends at once, a running one gets a deadline."""

from sqlalchemy import select, update

from agent_runner.status.failures import Code
from agent_runner.status.phases import CANCEL_PENDING, Phase, Step
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.executions.ending import E, End, Ending
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import executions
from agent_runner.status.store.verbs import Orgs, verb


class Cancel(Ending):
    @verb(orgs=Orgs.EXECUTION)
    async def request_cancel(self, id: str, by: str) -> Execution | None:
        """Request a cancel. An execution that is not running is CANCELLED at once; a running one gets its timeout."""
        end = End(phase=Phase.CANCELLED, code=Code.CANCELLED, facts={"by": by})
        async with self.write() as connection:
            await self.hold_sessions(connection, E.id == id)
            if await self.end_row(connection, end, E.id == id, edge=CANCEL_PENDING) is None:
                await connection.execute(
                    update(executions)
                    .where(E.id == id, E.step == Step.RUNNING.value, E.cancel_requested_at.is_(None))
                    .values(cancel_requested_at=NOW, cancelled_by=by, due_cancel=NOW + E.limit_cancel),
                    self.params(),
                )
            row = (await connection.execute(select(executions).where(E.id == id))).one_or_none()
        return to_execution(row) if row else None
