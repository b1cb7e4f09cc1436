"""The sweep: one indexed select of rows whose earliest deadline has passed, and the ordinary end for each.

The sweep guarantees L1; all other ways to an end are only faster. Any number of servers may sweep: every end is
conditional. L5: amnesty. After a time without a live server (the only one was restarted, the database was away) the
clocks that no worker could meet in that time start again: such a deadline would be a false reason. Servers write the
alive stamp apart from the sweep, so a long sweep or a slow broker is no outage. No deadline is checked while the stamp
is old, so the first server that comes back grants the amnesty first.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.status.log.log import State, rfc3339
from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.clock import FOREVER, NOW, latest
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.executions.ending import OPEN, E, End
from agent_runner.status.store.executions.outbox import TO_START
from agent_runner.status.store.executions.reading import folded
from agent_runner.status.store.records import Execution, ResourceKind, Tick
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import executions, resources, session_facts, startup_failures, sweeper, workers
from agent_runner.status.store.tables.turn_records import ADMITTED as UNDER_WAY
from agent_runner.status.store.tables.turn_records import READY
from agent_runner.status.store.turns.busy_workers import BusyWorkers
from agent_runner.status.store.verbs import reads, verb, writes
from agent_runner.status.timeouts import TIMEOUT_CODES, TimeoutType

log = event_logger(__name__)
BATCH = 200
ACTIVITY = {Step.WAITING: "EnsureThread", Step.ENSURE_THREAD: "EnsureThread", Step.THREAD_STARTED: "EnsureThread"}
"""The activity of each step; ExecuteGraphton for all others."""
_CONTEXTS_OF_ENDED = delete(resources).where(
    resources.c.kind == ResourceKind.EXECUTION_CONTEXT.value, exists().where(E.id == resources.c.parent_id, ~OPEN)
)
"""The contexts that an operator gave for an execution are deleted after its end; there are hardly ever any."""


Swept = tuple[Execution, bool | None]
"""As it was before, and whether it goes on to another attempt instead of its end; None: it waits for busy workers."""


class Sweep(BusyWorkers):
    @verb
    async def tick(self, *, period_s: float) -> Tick:
        """`alive`, then `sweep`."""
        resumed = await self.alive(period_s=period_s)
        swept = await self.sweep(period_s=period_s)
        return replace(swept, resumed=resumed or swept.resumed)

    @verb
    async def sweep(self, *, period_s: float) -> Tick:
        """End every execution whose deadline has passed. After a time without a live server the amnesty comes first."""
        ended: list[Execution] = []
        retried: list[Execution] = []
        resumed = False
        while True:
            batch = await self._sweep_batch(_is_fresh(period_s))
            if batch is None:
                resumed = await self.alive(period_s=period_s) or resumed
                continue
            ended += [execution for execution, again in batch if again is False]
            retried += [execution for execution, again in batch if again]
            if len(batch) < BATCH:
                return Tick(ended=ended, retried=retried, resumed=resumed)

    @writes
    def alive(self, connection: Connection, *, period_s: float) -> bool:
        """Stamp that a server is alive. True when the last stamp was too long ago and the clocks were moved."""
        gap = gap_s(period_s)
        insert = sqlite_insert if self.is_sqlite else postgres_insert
        s = sweeper.c
        connection.execute(_CONTEXTS_OF_ENDED)
        connection.execute(insert(sweeper).values(id=1, alive_at=NOW).on_conflict_do_nothing(), self.params())
        late = s.alive_at < NOW - gap
        stamped = update(sweeper).values(resumed_at=case((late, NOW), else_=s.resumed_at), alive_at=NOW)
        before = connection.scalar(select(s.resumed_at))
        after = connection.scalar(stamped.returning(s.resumed_at), self.params())
        if after is None or after == before:
            return False
        self._amnesty(connection)
        return True

    def _amnesty(self, connection: Connection) -> None:
        def at_least(column: Any, seconds: Any) -> Any:
            return case((column < FOREVER, latest(column, NOW + seconds)), else_=column)

        connection.execute(
            update(executions)
            .where(OPEN)
            .values(
                due_heartbeat=at_least(E.due_heartbeat, E.limit_heartbeat),
                due_schedule_to_start=at_least(E.due_schedule_to_start, E.limit_schedule_to_start),
                due_ensure_thread=at_least(E.due_ensure_thread, E.limit_settle_grace),
                due_worker_lost=at_least(E.due_worker_lost, E.limit_worker_lost_grace),
                due_start_to_close=at_least(E.due_start_to_close, E.limit_settle_grace),
                due_schedule_to_close=at_least(E.due_schedule_to_close, E.limit_settle_grace),
                due_cancel=at_least(E.due_cancel, E.limit_settle_grace),
                next_dispatch_at=case((E.step.in_(TO_START), latest(E.not_before, NOW)), else_=E.next_dispatch_at),
            ),
            self.params(),
        )

    async def _sweep_batch(self, fresh: ColumnElement[bool]) -> list[Swept] | None:
        """What one transaction did; None if the alive stamp is old, so the amnesty must come first."""
        handles = await self._overdue(fresh)  # most ticks find nothing: do not take the writer for that
        if not handles:
            return handles if handles is None else []
        try:
            return await self._end_all(handles, fresh)
        except StoreUnavailable:
            raise
        except Exception:
            # One row that cannot be ended as usual must not keep all others from their end (L1).
            log.exception("sweep.batch_failed")
            return await self._one_by_one(handles, fresh)

    @reads
    def _overdue(self, connection: Connection, fresh: ColumnElement[bool]) -> list[int] | None:
        """Rows that are due; None if there are some and the alive stamp is old."""
        overdue = select(E.handle).where(OPEN, E.next_deadline <= NOW).order_by(E.next_deadline).limit(BATCH)
        handles = list(connection.scalars(overdue, self.params()))
        return None if handles and not connection.scalar(select(fresh), self.params()) else handles

    @writes
    def _end_all(
        self, connection: Connection, handles: Sequence[int], fresh: ColumnElement[bool], *, with_facts: bool = True
    ) -> list[Swept]:
        return self._end_rows(connection, self._due(connection, handles, fresh), with_facts=with_facts)

    def _due(self, connection: Connection, handles: Sequence[int], fresh: ColumnElement[bool]) -> list[Row[Any]]:
        """Those of these rows that are still due, locked with their sessions. Rows locked elsewhere wait a tick."""
        due = (
            select(executions, NOW.label("now_at"))
            .where(E.handle.in_(handles), OPEN, E.next_deadline <= NOW, fresh)
            .order_by(E.next_deadline)
        )
        if not self.is_sqlite:
            sessions = self.hold_sessions(connection, E.handle.in_(handles), wait=False)
            unknown = ~exists().where(session_facts.c.session_id == E.session_id)
            due = due.where(or_(E.session_id.in_(sessions), unknown)).with_for_update(skip_locked=True, of=executions)
        return list(connection.execute(due, self.params()))

    def _end_rows(self, connection: Connection, rows: Sequence[Row[Any]], *, with_facts: bool = True) -> list[Swept]:
        nobody: dict[str, str] = {}
        waits_on = self.wait_on(connection, rows)
        swept: list[Swept] = [(to_execution(row), None) for row in rows if row.handle in waits_on]
        for wave in _waves([row for row in rows if row.handle not in waits_on]):
            ends = [(row, self._end_of(connection, row, nobody, with_facts=with_facts)) for row in wave]
            again = [self.try_again(connection, row, end, due=True) is not None for row, end in ends]
            over = [(row, end) for (row, end), retried in zip(ends, again, strict=True) if not retried]
            taken = self.end_due(connection, [(row.handle, end) for row, end in over])
            done = {row.handle for (row, _), end in zip(over, taken, strict=True) if end is not None}
            if with_facts:
                swept += [
                    (to_execution(row), retried)
                    for (row, _), retried in zip(ends, again, strict=True)
                    if retried or row.handle in done
                ]
        return swept

    def _end_of(self, connection: Connection, row: Row[Any], nobody: dict[str, str], *, with_facts: bool) -> End:
        # After an amnesty several deadlines may be equal: then the user's cancel is the reason.
        passed = min(TimeoutType, key=lambda t: (row._mapping[t.column], t is not TimeoutType.CANCEL))
        code = TIMEOUT_CODES[passed]
        if passed is TimeoutType.THREAD_WAIT and row.ready_at:  # its session was free
            code = Code.SCHEDULE_TO_START
        phase = Phase.CANCELLED if code is Code.CANCELLED else Phase.FAILED
        facts = self._facts(connection, row, passed, nobody) if with_facts else {}
        return End(phase=phase, code=code, facts=facts, late_s=row.now_at - row.next_deadline)

    async def _one_by_one(self, handles: Sequence[int], fresh: ColumnElement[bool]) -> list[Swept]:
        """Ends each row in a transaction of its own; without its facts, if they cannot be read."""
        ended: list[Swept] = []
        for handle in handles:
            for with_facts in (True, False):
                try:
                    ended += await self._end_all([handle], fresh, with_facts=with_facts)
                    break
                except StoreUnavailable:
                    raise
                except Exception:
                    log.exception("sweep.row_failed", handle=handle, with_facts=with_facts)
        return ended

    def _facts(
        self, connection: Connection, row: Row[Any], passed: TimeoutType, nobody: dict[str, str]
    ) -> dict[str, Any]:
        """What is known about this row and this deadline, for the failure table."""
        step = Step(row.step)
        facts: dict[str, Any] = {
            "activity": ACTIVITY.get(step, "ExecuteGraphton"),
            "step": step.value,
            "queue": row.runner_queue,
        }
        match passed:
            case TimeoutType.SCHEDULE_TO_START:
                if row.runner_queue not in nobody:
                    nobody[row.runner_queue] = self._nobody(connection, row)
                waited = row.now_at - (row.dispatched_at or row.now_at) >= row.limit_busy_to_start > 0
                limit_s = max(row.limit_busy_to_start, row.limit_schedule_to_start)
                facts |= {
                    "limit_s": limit_s if waited else row.limit_schedule_to_start,
                    "cause": nobody[row.runner_queue] + self._turn_waited(row),
                }
            case TimeoutType.HEARTBEAT | TimeoutType.ENSURE_THREAD:
                heard = row.last_beat_at or row.now_at - row.limit_ensure_thread
                facts |= {
                    "silent_s": round(row.now_at - heard, 1),
                    "last_heartbeat": rfc3339(heard),
                    "progress": _progress(row.progress, folded(connection, row.handle)),
                }
            case TimeoutType.WORKER_LOST:
                grace = f"{row.limit_worker_lost_grace:g}"
                facts |= {
                    "cause": f"its connection closed and it was not back within {grace} s",
                    "last_heartbeat": row.last_beat_at and rfc3339(row.last_beat_at),
                }
            case TimeoutType.START_TO_CLOSE:
                facts["limit_s"] = row.limit_start_to_close
            case TimeoutType.SCHEDULE_TO_CLOSE:
                facts["limit_s"] = row.limit_schedule_to_close
            case TimeoutType.THREAD_WAIT if row.ready_at:
                facts |= {"limit_s": row.limit_thread_wait, "cause": self._turn_missed(connection, row)}
            case TimeoutType.THREAD_WAIT:
                facts |= {"limit_s": row.limit_thread_wait, "blocker": self._blocker(connection, row)}
            case TimeoutType.CANCEL:
                facts["by"] = row.cancelled_by
        return facts

    def _nobody(self, connection: Connection, row: Row[Any]) -> str:
        """Why no worker took it: the last failed start, silent or busy workers, or no worker at all."""
        failed = connection.scalar(select(startup_failures.c.text).where(startup_failures.c.queue == row.runner_queue))
        if failed:
            return f"the last worker on this queue failed to start: {failed.strip()}"
        w = workers.c
        here = select(
            func.count(), func.sum(w.slots), func.sum(w.busy), func.max(w.not_taking), func.min(w.last_seen_at)
        ).where(w.queue == row.runner_queue, w.gone_at.is_(None), w.disconnected_at.is_(None))
        count, slots, busy, leaving, heard_at = tuple(connection.execute(here).one())
        if count:
            if (silent_s := row.now_at - heard_at) > row.limit_heartbeat:
                stuck = f"one of them has been silent for {silent_s:.0f} s: stopped, cut off, or held by code in C"
                return f"{count} workers connected, {busy} of {slots} slots busy; {stuck}"
            if leaving:
                return f"{count} workers online, {busy} of {slots} slots busy; one of them takes no work: {leaving}"
            if busy >= slots:
                return f"{count} workers online, all {slots} slots busy"
            return f"{count} workers online, {busy} of {slots} slots busy, but none took it"
        ever = connection.scalar(select(func.max(w.last_seen_at)).where(w.queue == row.runner_queue))
        if ever is None:
            return "no worker ever connected (none is running, it failed to start, or it listens on another queue)"
        now = connection.scalar(select(NOW), self.params())
        return f"no worker is online; the last one was heard {round(now - ever)} s ago"

    def _turn_waited(self, row: Row[Any]) -> str:
        waited = (row.dispatchable_at or row.created_at) - row.created_at
        if not self.turns.on or waited < 1 or row.attempt:
            return ""
        return f" (its wait of {round(waited)} s for its session's and its org's turn is not part of this)"

    def _turn_missed(self, connection: Connection, row: Row[Any]) -> str:
        """Why its org's turn did not come for it."""
        mine = (E.runner_queue == row.runner_queue, E.org == row.org)
        under_way = connection.scalar(select(func.count()).where(UNDER_WAY, *mine))
        first = or_(E.priority > row.priority, and_(E.priority == row.priority, E.handle < row.handle))
        before = connection.scalar(select(func.count()).where(READY, *mine, first))
        waited = round(row.now_at - row.ready_at)
        return (
            f"it waited {waited} s for the turn of its org '{row.org}', of which {under_way} executions were under way"
            f" and {before} waited before it"
        )

    def _blocker(self, connection: Connection, row: Row[Any]) -> str:
        held = (
            select(E.id).where(E.session_id == row.session_id, OPEN, E.handle < row.handle).order_by(E.handle).limit(1)
        )
        found = connection.scalar(held)
        return f"execution {found}" if found else "another execution"


def _waves(rows: Sequence[Row[Any]]) -> list[list[Row[Any]]]:
    """The rows in their order, those of one session one after the other: an end admits the session's next one."""
    waves: list[list[Row[Any]]] = []
    times: dict[str, int] = {}
    for row in rows:
        n = times[row.session_id] = times.get(row.session_id, -1) + 1 if row.session_id else 0
        if n == len(waves):
            waves.append([])
        waves[n].append(row)
    return waves


def gap_s(period_s: float) -> float:
    """If the alive stamp is older than this, no server was alive."""
    return max(5.0, 5 * period_s)


def _is_fresh(period_s: float) -> ColumnElement[bool]:
    return exists().where(sweeper.c.alive_at >= NOW - gap_s(period_s))


def _progress(stored: str, state: State) -> str:
    """How far the run got: the counts of the log, and the events of the last beat, which may be older."""
    events = json.loads(stored).get("events_processed", 0)
    counted = f"{state.message_count} messages and {state.tool_call_count} tool calls"
    return f"; it had got to {counted}" + (f", {events} events processed at the last beat" if events else "")
