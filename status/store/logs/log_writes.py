"""Writes rows and snapshots of an execution's log, within the transaction of the verb that says them."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ClauseElement, Row, delete, insert, update

from agent_runner.status.store.clock import NOW
from agent_runner.status.store.driver.ready import Ready, number, ready
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.reading import Reading
from agent_runner.status.store.logs.purge import purge_edited
from agent_runner.status.store.rows import dumps
from agent_runner.status.store.run_records import NewDelta, NewRows
from agent_runner.status.store.schema import execution_log, execution_snapshots, executions

LOG_ROW = Ready(insert(execution_log).values(at=NOW), columns=("handle", "seq", "fence", "kind", "payload"))
SNAPSHOT = Ready(insert(execution_snapshots), columns=("handle", "seq", "state"))


class LogWrites(Reading):
    on_rows: Callable[[NewRows], None] | None = None
    """Called with rows that were appended, once they are durable. Not for all: those that the server writes by itself
    for many executions are only in the store."""

    def write_log(
        self,
        connection: Connection,
        row: Row[Any],
        last_seq: int,
        told: Sequence[tuple[int, NewDelta]],
        *,
        at: float | None = None,
    ) -> None:
        """Append rows of this execution after `last_seq`, each under its fence, with the database's time. Text that
        they edit is removed from older rows. `at`: that time, if a statement of this transaction has said it; then the
        rows are told to `on_rows`, too."""
        if not told:
            return
        deltas = purge_edited(connection, row.handle, [delta for _, delta in told])
        given = [(fence, delta) for (fence, _), delta in zip(told, deltas, strict=True)]
        connection.run_many(LOG_ROW, self.log_rows(row.handle, last_seq, given, at=at))
        if at is not None:
            self.tell_rows(connection, NewRows(execution_id=row.id, before=last_seq, at=at, told=given))

    def tell_rows(self, connection: Connection, rows: NewRows) -> None:
        if (told_of := self.on_rows) is not None and rows.told:
            connection.after_commit(lambda: told_of(rows))

    def log_rows(
        self, handle: int, last_seq: int, told: Sequence[tuple[int, NewDelta]], *, at: float | None = None
    ) -> list[dict[str, Any]]:
        """Parameters of `LOG_ROW` for the rows after `last_seq`. `at`: their time; None for the database's now."""
        now = at if at is not None else self._now() if self._now else None
        return [
            {"now": now, "handle": handle, "seq": last_seq + n, "fence": fence, "kind": d.kind, "payload": d.payload}
            for n, (fence, d) in enumerate(told, 1)
        ]

    def write_snapshot(self, connection: Connection, handle: int, seq: int, state: Any) -> None:
        content = dumps(state)
        connection.run(_drop_snapshot(), its_handle=handle)
        connection.run(SNAPSHOT, handle=handle, seq=seq, state=content)
        connection.run(_snapshot_written(), its_handle=handle, at_seq=seq, size=len(content))


@ready
def _drop_snapshot() -> ClauseElement:
    return delete(execution_snapshots).where(execution_snapshots.c.handle == number("its_handle"))


@ready
def _snapshot_written() -> ClauseElement:
    sizes = {"snapshot_seq": number("at_seq"), "snapshot_bytes": number("size"), "tail_bytes": 0}
    return update(executions).where(executions.c.handle == number("its_handle")).values(**sizes)
