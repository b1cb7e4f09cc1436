"""A step that waits for workers that are at work may wait longer than one for which there is no worker.

Schedule-to-start counts from the publishing of the step, and from the last moment in which a worker of its queue was
at work. So the deadline of a step whose time is up is moved, at most to `limit_busy_to_start` after the publishing.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select, update

from agent_runner.status.store.clock import FOREVER
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import E, Ending
from agent_runner.status.store.schema import executions, workers
from agent_runner.status.timeouts import TimeoutType


class BusyWorkers(Ending):
    def wait_on(self, connection: Connection, rows: Sequence[Row[Any]]) -> set[int]:
        """The handles of the rows that go on waiting: only this deadline has passed, and it was moved."""
        at_work: dict[str, float] = {}
        moved: set[int] = set()
        for row in rows:
            if row.limit_busy_to_start <= row.limit_schedule_to_start or row.dispatched_at is None:
                continue
            others = min(row._mapping[t.column] for t in TimeoutType if t is not TimeoutType.SCHEDULE_TO_START)
            if others <= row.now_at:
                continue
            queue = row.runner_queue
            if queue not in at_work:
                at_work[queue] = self._last_at_work(connection, queue)
            last = row.dispatched_at + row.limit_busy_to_start
            due = min(at_work[queue] + row.limit_schedule_to_start, last)
            if due > row.now_at:
                again = row.now_at + row.limit_schedule_to_start / 3  # the message may have been lost meanwhile
                change = {"due_schedule_to_start": due, "next_dispatch_at": again if again < due else FOREVER}
                connection.execute(update(executions).where(E.handle == row.handle).values(change))
                moved.add(row.handle)
        return moved

    def _last_at_work(self, connection: Connection, queue: str) -> float:
        """When a busy worker of this queue was last heard; 0: never. One that is idle is no reason to wait."""
        w = workers.c
        heard = connection.scalar(select(func.max(w.last_seen_at)).where(w.queue == queue, w.busy > 0))
        return float(heard or 0.0)
