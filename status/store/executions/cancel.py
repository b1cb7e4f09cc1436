"""Cancel: a waiting execution ends at once, a running one gets a deadline."""

from sqlalchemy import update

from agent_runner.status.failures import Code
from agent_runner.status.phases import CANCEL_PENDING, Phase, Step
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import E, End, Ending
from agent_runner.status.store.executions.reading import by_id
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import executions
from agent_runner.status.store.verbs import Orgs, writes


class Cancel(Ending):
    @writes(orgs=Orgs.EXECUTION)
    def request_cancel(self, connection: Connection, id: str, by: str) -> Execution | None:
        """Request a cancel. An execution that is not running is CANCELLED at once; a running one gets its timeout."""
        end = End(phase=Phase.CANCELLED, code=Code.CANCELLED, facts={"by": by})
        self.hold_session(connection, its_id=id)
        if self.end_row(connection, end, E.id == id, edge=CANCEL_PENDING) is None:
            connection.execute(
                update(executions)
                .where(E.id == id, E.step == Step.RUNNING.value, E.cancel_requested_at.is_(None))
                .values(cancel_requested_at=NOW, cancelled_by=by, due_cancel=NOW + E.limit_cancel),
                self.params(),
            )
        row = connection.one(by_id(), its_id=id)
        return to_execution(row) if row else None
