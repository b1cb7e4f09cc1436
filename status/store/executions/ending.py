"""The end of an execution, in one place: the terminal write, its log rows, the last snapshot, the next in the session.

L2: the terminal write is the last one. It takes the row out of every condition (`step`, `fence`), so nothing that comes
later matches. L8: it appends; it replaces nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Update, and_, case, delete, exists, func, insert, select, true, update

from agent_runner.status.failures import Code, describe
from agent_runner.status.phases import ADMIT, FAIL, SETTLE, TERMINAL_PHASES, Phase, Step, Transition
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.edges import take
from agent_runner.status.store.executions.purge import purge_edited
from agent_runner.status.store.executions.reading import Reading, folded
from agent_runner.status.store.records import NewDelta, Settled
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import execution_log, execution_snapshots, executions, session_facts
from agent_runner.status.store.verbs import writes
from agent_runner.status.timeouts import TimeoutType

E = executions.c
OPEN = E.phase < min(TERMINAL_PHASES)
NO_DEADLINES = {t.column: FOREVER for t in TimeoutType} | {"next_dispatch_at": FOREVER}
ATTEMPT_CODES = frozenset({Code.HEARTBEAT, Code.WORKER_LOST, Code.START_TO_CLOSE, Code.WORKER_SHUTDOWN})
"""Failures that the cancel itself may cause: while a cancel is pending, the execution ends CANCELLED instead."""
SMALL_TAIL_BYTES = 4096
"""A log with a smaller tail gets no last snapshot: it would cost more than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How an execution ends. `code` is None for COMPLETED, and if the owner reports only a phase."""

    phase: Phase
    code: Code | None
    facts: Mapping[str, Any]
    late_s: float | None = None
    """Seconds since the deadline that is the reason, if there is one."""
    waiting: bool = False
    """It ended with a question to a person."""

    @property
    def reason(self) -> Code | None:
        """The code that is reported: CANCELLED has one code, whatever code came with it."""
        return Code.CANCELLED if self.phase is Phase.CANCELLED else self.code


def terminal(edge: Transition, end: End, *conditions: ColumnElement[bool], deltas: int = 0) -> Update:
    """The one conditional statement of an end. A pending cancel wins over the codes in `ATTEMPT_CODES`.

    The fence of an owner is kept, so that the owner may repeat its settle; an end by the server keeps none. `deltas` is
    the number of rows before the closing rows. The numbers of all these rows are reserved here.
    """
    yields = end.code in ATTEMPT_CODES
    said: Any = end.reason.value if end.reason else ""
    return take(
        edge,
        *conditions,
        phase=end.phase,
        cancel_wins=yields,
        settled_fence=E.fence if edge is SETTLE else 0,
        completed_at=NOW,
        error_code=case((E.cancel_requested_at.is_not(None), Code.CANCELLED.value), else_=said) if yields else said,
        runner_seq=E.runner_seq + deltas,
        last_seq=E.last_seq + deltas + (2 if end.reason else 1),
        sealed_env=None,
        waiting=int(end.waiting),
        webhook_due_at=case((E.webhook.is_not(None), NOW), else_=FOREVER),
        **NO_DEADLINES,
    )


class Ending(Reading):
    on_end: Callable[[Phase, Code | None, float | None], None] | None = None
    """Called once for each end that this store writes, for counting."""

    def finish(self, connection: Connection, row: Row[Any], end: End, deltas: Sequence[NewDelta]) -> str:
        """The writes after the terminal one, in its transaction. Returns the id of the session's next one, or ''."""
        phase = Phase(row.phase)
        code, facts = end.reason, dict(end.facts)
        if phase is Phase.CANCELLED and end.code is not Code.CANCELLED:
            code, facts = Code.CANCELLED, {"original_error": facts.get("original_error")}
        last: dict[str, Any] = {"phase": phase.wire_name}
        closing: list[NewDelta] = []
        if code is not None:
            failure = describe(
                code,
                {"by": row.cancelled_by or None, "attempt": row.attempt or None, "worker": row.owner_name or None}
                | facts,
            )
            message = {"id": "failure", "type": "MESSAGE_SYSTEM", "content": failure.text, "metadata": failure.metadata}
            closing.append(NewDelta(kind="message", payload=dumps(message)))
            last |= {"error": failure.error, "error_code": code.value}
        closing.append(NewDelta(kind="phase", payload=dumps(last)))
        before = row.last_seq - len(closing) - len(deltas)
        self.write_log(connection, row.handle, before, row.fence - 1, deltas)
        self.write_log(connection, row.handle, before + len(deltas), row.fence, closing)
        if row.tail_bytes + sum(len(d.payload) for d in deltas) > SMALL_TAIL_BYTES:
            state = folded(connection, row.handle)
            self.write_snapshot(connection, row.handle, row.last_seq, state.to_json())
        if row.rolled_back and row.base_given:
            undone = {"head_checkpoint_id": row.base_checkpoint_id}
            facts_of = session_facts.c.session_id == row.session_id
            connection.execute(update(session_facts).where(facts_of).values(**undone))
        elif phase is Phase.COMPLETED:  # from now on only its own questions are open
            self.no_longer_waiting(connection, row)
        if (told_of := self.on_end) is not None:
            connection.after_commit(lambda: told_of(phase, code, end.late_s))
        return self.promote(connection, row.session_id)

    def write_log(
        self, connection: Connection, handle: int, last_seq: int, fence: int, deltas: Sequence[NewDelta]
    ) -> None:
        """Append rows after `last_seq`, with the database's time. Text that they edit is removed from older rows."""
        if not deltas:
            return
        deltas = purge_edited(connection, handle, deltas)
        fixed = self.params(handle=handle, fence=fence)
        connection.execute(
            insert(execution_log).values(at=NOW),
            [{**fixed, "seq": last_seq + n, "kind": d.kind, "payload": d.payload} for n, d in enumerate(deltas, 1)],
        )

    def no_longer_waiting(self, connection: Connection, row: Row[Any]) -> None:
        """Earlier executions of its session wait no longer: this execution has taken the answers."""
        if row.session_id:
            earlier = (E.session_id == row.session_id, E.handle < row.handle, E.waiting == 1)
            connection.execute(update(executions).where(*earlier).values(waiting=0))

    def write_snapshot(self, connection: Connection, handle: int, seq: int, state: Any) -> None:
        content = dumps(state)
        connection.execute(delete(execution_snapshots).where(execution_snapshots.c.handle == handle))
        connection.execute(insert(execution_snapshots).values(handle=handle, seq=seq, state=content))
        connection.execute(
            update(executions)
            .where(E.handle == handle)
            .values(snapshot_seq=seq, snapshot_bytes=len(content), tail_bytes=0)
        )

    def hold_sessions(self, connection: Connection, *whose: ColumnElement[bool], wait: bool = True) -> list[str]:
        """Lock the sessions of these executions, always before the executions themselves. Returns the sessions' ids.

        Create takes this lock, too. Otherwise a create could still see this execution open while the promote does not
        see the new row: the new execution would wait for ever. Without `wait`, sessions that another transaction holds
        are left out. On SQLite nothing is locked: it has one writer.
        """
        if self.is_sqlite:
            return []
        session_id = session_facts.c.session_id
        held = select(session_id).where(session_id.in_(select(E.session_id).where(*whose))).order_by(session_id)
        return list(connection.scalars(held.with_for_update(skip_locked=not wait)))

    def promote(self, connection: Connection, session_id: str) -> str:
        """Admit the oldest waiting execution of a session in which no other one is active (FIFO). Its id, or ''.

        The caller's transaction must hold the session (`hold_sessions`).
        """
        if not session_id:
            return ""
        other = executions.alias("other")
        waiting = select(func.min(E.handle)).where(
            E.session_id == session_id, E.step == Step.WAITING.value, E.not_before <= NOW
        )
        held = exists().where(
            other.c.session_id == session_id, other.c.phase < min(TERMINAL_PHASES), other.c.step != Step.WAITING.value
        )
        statement = take(
            ADMIT,
            E.handle == waiting.scalar_subquery(),
            ~held,
            dispatchable_at=NOW,
            due_thread_wait=FOREVER,
            due_schedule_to_close=NOW + E.limit_schedule_to_close,
            next_dispatch_at=NOW,
        )
        row = connection.execute(statement, self.params()).one_or_none()
        return row.id if row else ""

    def end_row(
        self, connection: Connection, end: End, *conditions: ColumnElement[bool], edge: Transition = FAIL
    ) -> tuple[Row[Any], str] | None:
        """The terminal write and `finish`; the session must be held. None when the conditions no longer hold."""
        row = connection.execute(terminal(edge, end, *conditions), self.params()).one_or_none()
        if row is None:
            return None
        return row, self.finish(connection, row, end, ())

    @writes
    def fail(
        self,
        connection: Connection,
        id: str,
        code: Code,
        facts: Mapping[str, Any],
        *,
        only_steps: frozenset[Step] = FAIL.sources,
    ) -> Settled:
        """End an execution from the server's side. A row that is terminal, or in another step, stays as it is."""
        end = End(phase=Phase.CANCELLED if code is Code.CANCELLED else Phase.FAILED, code=code, facts=facts)
        in_step: ColumnElement[bool] = E.step.in_([s.value for s in only_steps]) if only_steps else true()
        self.hold_sessions(connection, E.id == id)
        ended = self.end_row(connection, end, and_(E.id == id, in_step))
        row = connection.execute(select(executions).where(E.id == id)).one_or_none()
        return Settled(
            accepted=ended is not None, execution=to_execution(row) if row else None, promoted=ended[1] if ended else ""
        )


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
