"""The owner's description of an execution, which may change at any time: its name, labels, annotations, tags.

It is kept apart from the status: this verb writes no row of the log and no column that a run depends on.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select, update

from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import StaleVersion
from agent_runner.status.store.executions.ending import E
from agent_runner.status.store.executions.tags import replace_execution_tags
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import dumps, to_execution
from agent_runner.status.store.schema import executions
from agent_runner.status.store.verbs import Orgs, writes


class Descriptions(Transactions):
    @writes(orgs=Orgs.EXECUTION)
    def update_spec(
        self, connection: Connection, id: str, *, expect_version: int, name: str, spec: Mapping[str, Any], by: str
    ) -> Execution | None:
        """Replace the name and the document (`{"metadata", "spec"}`) of the version that was read. `by`: who does it.

        None when there is no such execution (any more); raises `StaleVersion` when it was updated in between.
        """
        changed = (
            update(executions)
            .where(E.id == id, E.spec_version == expect_version)
            .values(
                name=name,
                spec=dumps(dict(spec)),
                spec_version=E.spec_version + 1,
                spec_updated_at=NOW,
                spec_updated_by=by,
            )
            .returning(executions)
        )
        row = connection.execute(changed, self.params()).one_or_none()
        if row is None:
            if not connection.scalar(select(func.count()).select_from(executions).where(E.id == id)):
                return None
            raise StaleVersion(f"execution {id} was updated in between; read it again")
        replace_execution_tags(connection, row.handle, spec)
        return to_execution(row)
