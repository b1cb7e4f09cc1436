"""The end of an execution, in one place: the terminal write, its log rows, the last snapshot, the next in the session.

L2: the terminal write is the last one. It takes the row out of every condition (`step`, `fence`), so nothing that comes
later matches. L8: it appends; it replaces nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Row,
    Update,
    and_,
    case,
    select,
    true,
    update,
)

from agent_runner.status.failures import Code, describe
from agent_runner.status.phases import FAIL, SETTLE, TERMINAL_PHASES, Phase, Step, Transition
from agent_runner.status.requests.fair_turns import FairTurns
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.ready import Ready, number, ready, text_of
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.edges import take
from agent_runner.status.store.executions.reading import by_id, folded, is_long
from agent_runner.status.store.logs.log_writes import LOG_ROW, LogWrites
from agent_runner.status.store.rows import dumps, to_execution
from agent_runner.status.store.run_records import NewDelta, Settled
from agent_runner.status.store.schema import executions, session_facts
from agent_runner.status.store.turns.admission import admit, make_ready
from agent_runner.status.store.turns.attempts import (
    ROWS,
    attempt_of_message,
    next_attempt,
    retry,
    retry_thread,
    rows_about,
)
from agent_runner.status.store.turns.webhook_outbox import tell_end
from agent_runner.status.store.verbs import writes
from agent_runner.status.timeouts import TimeoutType

E = executions.c
OPEN = E.phase < min(TERMINAL_PHASES)
NO_DEADLINES = {t.column: FOREVER for t in TimeoutType} | {"next_dispatch_at": FOREVER, "ready_at": 0.0}
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

    @property
    def yields(self) -> bool:
        """A pending cancel wins over its code."""
        return self.code in ATTEMPT_CODES

    def values(self, *, deltas: int = 0) -> dict[str, Any]:
        """Parameters of a `terminal` statement. `deltas` is the number of rows before the closing rows."""
        reason = self.reason
        return {
            "end_code": reason.value if reason else "",
            "end_waiting": int(self.waiting),
            "end_deltas": deltas,
            "end_rows": deltas + (2 if reason else 1),
        }


def terminal(edge: Transition, phase: Phase, *conditions: ColumnElement[bool], yields: bool) -> Update:
    """The one conditional statement of an end; `End.values` are its parameters.

    The fence of an owner is kept, so that the owner may repeat its settle; an end by the server keeps none. The numbers
    of all rows that the end writes are reserved here.
    """
    said: ColumnElement[Any] = text_of("end_code")
    return take(
        edge,
        *conditions,
        phase=phase,
        cancel_wins=yields,
        settled_fence=E.fence if edge is SETTLE else 0,
        completed_at=NOW,
        error_code=case((E.cancel_requested_at.is_not(None), Code.CANCELLED.value), else_=said) if yields else said,
        runner_seq=E.runner_seq + number("end_deltas"),
        last_seq=E.last_seq + number("end_rows"),
        sealed_env=None,
        waiting=number("end_waiting"),
        **NO_DEADLINES,
    )


def closing_rows(row: Row[Any], end: End) -> tuple[Phase, list[NewDelta]]:
    """The phase that an execution ended in, and the last rows of its log. `row`: after its terminal write."""
    phase = Phase(row.phase)
    code, facts = end.reason, dict(end.facts)
    if phase is Phase.CANCELLED and end.code is not Code.CANCELLED:
        code, facts = Code.CANCELLED, {"original_error": facts.get("original_error")}
    last: dict[str, Any] = {"phase": phase.wire_name}
    closing: list[NewDelta] = []
    if code is not None:
        failure = describe(
            code,
            {"by": row.cancelled_by or None, "attempt": row.attempt or None, "worker": row.owner_name or None} | facts,
        )
        message = {"id": "failure", "type": "MESSAGE_SYSTEM", "content": failure.text, "metadata": failure.metadata}
        closing.append(NewDelta(kind="message", payload=dumps(message)))
        last |= {"error": failure.error, "error_code": code.value}
    closing.append(NewDelta(kind="phase", payload=dumps(last)))
    return phase, closing


class Ending(LogWrites):
    turns: FairTurns = FairTurns()
    """How orgs take turns. Every server of a store has the same."""
    on_end: Callable[[Phase, Code | None, float | None], None] | None = None
    """Called once for each end that this store writes, for counting."""
    on_retry: Callable[[str, int, Code, float], None] | None = None
    """Called once for each failed attempt that is followed by another one: the execution's id, the attempt, its code,
    and the seconds until the next one."""

    def try_again(
        self,
        connection: Connection,
        row: Row[Any] | None,
        end: End,
        deltas: Sequence[NewDelta] = (),
        *,
        first: int | None = None,
        due: bool = False,
    ) -> Row[Any] | None:
        """Take the execution to its next attempt, if there is one after this end. None: it ends. `row`: as it is now;
        the session is held. `first`: the number of `deltas[0]`, if its owner reports the end. `due`: as `retry`."""
        if row is None or end.phase is not Phase.FAILED or (again := next_attempt(row, end.code, end.facts)) is None:
            return None
        rows = len(deltas) + ROWS
        its = self.params(its_handle=row.handle, pause_s=again.pause_s, rows=rows)
        if row.step == Step.THREAD_STARTED.value:
            statement, its = retry_thread(due=due), its | {"its_begin": row.begin_id}
        else:
            statement = retry(owned=first is not None, due=due)
            its |= {"its_fence": row.fence, "count": len(deltas)} | ({} if first is None else {"its_first": first})
        taken: Row[Any] | None = connection.one(statement, **its)
        if taken is None:
            return None
        about = [NewDelta(kind=kind, payload=dumps(payload)) for kind, payload in rows_about(taken, again)]
        told = [*((row.fence, delta) for delta in deltas), *((taken.fence, delta) for delta in about)]
        self.write_log(connection, row, taken.last_seq - rows, told)
        if (told_of := self.on_retry) is not None:
            connection.after_commit(lambda: told_of(taken.id, taken.attempt, again.code, again.pause_s))
        return taken

    def finish(self, connection: Connection, row: Row[Any], end: End, deltas: Sequence[NewDelta]) -> str:
        """The writes after the terminal one, in its transaction. Returns the id of the session's next one, or ''."""
        phase, closing = closing_rows(row, end)
        before = row.last_seq - len(closing) - len(deltas)
        told = [*((row.fence - 1, delta) for delta in deltas), *((row.fence, delta) for delta in closing)]
        self.write_log(connection, row, before, told, at=row.completed_at)
        self._after_end(connection, row, end, phase, large=is_large(row, deltas))
        return self.promote(connection, row.session_id)

    def end_due(self, connection: Connection, ends: Sequence[tuple[int, End]]) -> list[Row[Any] | None]:
        """Ends these executions (by their handles) if their deadlines have passed, and admits the next ones of their
        sessions. No two may be of one session, and all sessions must be held. None for those that are not due."""
        found: list[Row[Any] | None] = [None] * len(ends)
        kinds: dict[tuple[Phase, bool], list[int]] = {}
        for n, (_, end) in enumerate(ends):
            kinds.setdefault((end.phase, end.yields), []).append(n)
        for (phase, yields), chosen in kinds.items():
            its = [self.params(its_handle=ends[n][0], **ends[n][1].values()) for n in chosen]
            for n, row in zip(chosen, connection.one_of_each(_end_due(phase, yields=yields), its), strict=True):
                found[n] = row
        ended = [(row, end) for row, (_, end) in zip(found, ends, strict=True) if row is not None]
        rows: list[dict[str, Any]] = []
        for row, end in ended:
            _, closing = closing_rows(row, end)
            rows += self.log_rows(row.handle, row.last_seq - len(closing), [(row.fence, delta) for delta in closing])
        connection.run_many(LOG_ROW, rows)
        for row, end in ended:
            self._after_end(connection, row, end, Phase(row.phase), large=is_large(row, ()))
        sessions = [self.params(its_session=row.session_id) for row, _ in ended if row.session_id]
        connection.one_of_each(self._next_of_session(), sessions)
        return found

    def _after_end(self, connection: Connection, row: Row[Any], end: End, phase: Phase, *, large: bool) -> None:
        tell_end(connection, self.params(), row, sqlite=self.is_sqlite)
        if large:
            if is_long(row):
                connection.may_last()
            state = folded(connection, row.handle)
            self.write_snapshot(connection, row.handle, row.last_seq, state.to_json())
        if row.rolled_back and row.base_given:
            undone = {"head_checkpoint_id": row.base_checkpoint_id}
            facts_of = session_facts.c.session_id == row.session_id
            connection.execute(update(session_facts).where(facts_of).values(**undone))
        elif phase is Phase.COMPLETED:  # from now on only its own questions are open
            self.no_longer_waiting(connection, row)
        if (told_of := self.on_end) is not None:
            code = Code.CANCELLED if phase is Phase.CANCELLED else end.reason
            connection.after_commit(lambda: told_of(phase, code, end.late_s))

    def no_longer_waiting(self, connection: Connection, row: Row[Any]) -> None:
        """Earlier executions of its session wait no longer: this execution has taken the answers."""
        if row.session_id:
            connection.run(_answered(), its_session=row.session_id, before=row.handle)

    def hold_sessions(self, connection: Connection, *whose: ColumnElement[bool], wait: bool = True) -> list[str]:
        """Lock the sessions of these executions, always before the executions themselves. Returns the sessions' ids.

        Create takes this lock, too. Otherwise a create could still see this execution open while the promote does not
        see the new row: the new execution would wait for ever. Without `wait`, sessions that another transaction holds
        are left out. On SQLite nothing is locked: it has one writer.
        """
        if self.is_sqlite:
            return []
        session_id = session_facts.c.session_id
        held = select(session_id).where(_of_these(*whose)).order_by(session_id)
        return list(connection.scalars(held.with_for_update(skip_locked=not wait)))

    def promote(self, connection: Connection, session_id: str) -> str:
        """Admit the oldest waiting execution of a session in which no other one is active (FIFO), or make it ready for
        its org's turn. Its id, or ''.

        The caller's transaction must hold the session (`hold_sessions`).
        """
        if not session_id:
            return ""
        row = connection.one(self._next_of_session(), **self.params(its_session=session_id))
        return str(row.id) if row else ""

    def _next_of_session(self) -> Ready:
        return make_ready() if self.turns.on else admit()

    def end_row(
        self, connection: Connection, end: End, *conditions: ColumnElement[bool], edge: Transition = FAIL
    ) -> tuple[Row[Any], str] | None:
        """The terminal write and `finish`; the session must be held. None when the conditions no longer hold."""
        statement = terminal(edge, end.phase, *conditions, yields=end.yields)
        row = connection.execute(statement, self.params(**end.values())).one_or_none()
        if row is None:
            return None
        return row, self.finish(connection, row, end, ())

    def hold_session(self, connection: Connection, **of: Any) -> None:
        """`hold_sessions` for the execution with this `its_id` or `its_handle`."""
        if not self.is_sqlite:
            connection.all(held_session(by_id="its_id" in of), **of)

    @writes
    def fail(
        self,
        connection: Connection,
        id: str,
        code: Code,
        facts: Mapping[str, Any],
        *,
        only_steps: frozenset[Step] = FAIL.sources,
        attempt: int | None = None,
    ) -> Settled:
        """End an execution from the server's side, or its attempt if another one is left. A row that is terminal, or in
        another step, stays as it is. So does one that has gone on to another attempt than the given one."""
        end = End(phase=Phase.CANCELLED if code is Code.CANCELLED else Phase.FAILED, code=code, facts=facts)
        in_step: ColumnElement[bool] = E.step.in_([s.value for s in only_steps]) if only_steps else true()
        not_before_it = true() if attempt is None else attempt_of_message() <= attempt
        mine = and_(E.id == id, in_step, not_before_it)
        self.hold_session(connection, its_id=id)
        if again := self.try_again(connection, self._failing(connection, mine), end):
            return Settled(accepted=True, execution=to_execution(again))
        ended = self.end_row(connection, end, mine)
        row = connection.one(by_id(), its_id=id)
        return Settled(
            accepted=ended is not None, execution=to_execution(row) if row else None, promoted=ended[1] if ended else ""
        )

    def _failing(self, connection: Connection, mine: ColumnElement[bool]) -> Row[Any] | None:
        """The row, if it may have a next attempt."""
        begun = E.step.in_((Step.THREAD_STARTED.value, Step.RUNNING.value))
        return connection.execute(select(executions).where(mine, begun, E.max_attempts > E.attempt)).one_or_none()


@ready
def held_session(*, by_id: bool) -> ClauseElement:
    """The session of one execution, locked."""
    whose = E.id == text_of("its_id") if by_id else E.handle == number("its_handle")
    return select(session_facts.c.session_id).where(_of_these(whose)).with_for_update()


def _of_these(*whose: ColumnElement[bool]) -> ColumnElement[bool]:
    return session_facts.c.session_id.in_(select(E.session_id).where(*whose))


@ready
def _end_due(phase: Phase, *, yields: bool) -> ClauseElement:
    return terminal(FAIL, phase, E.handle == number("its_handle"), E.next_deadline <= NOW, yields=yields)


@ready
def _answered() -> ClauseElement:
    earlier = (E.session_id == text_of("its_session"), E.handle < number("before"), E.waiting == 1)
    return update(executions).where(*earlier).values(waiting=0)


def is_large(row: Row[Any], deltas: Sequence[NewDelta]) -> bool:
    """An end after such a tail writes a last snapshot."""
    return bool(row.tail_bytes + sum(len(d.payload) for d in deltas) > SMALL_TAIL_BYTES)
