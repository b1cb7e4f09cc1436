"""The writes of a worker. Every verb is one conditional statement on (execution, fence), and may be repeated (L3).

The answer to a repeated call is the answer to the first one: a reply that got lost changes nothing.
"""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Any

from sqlalchemy import ColumnElement, Row, case, select, update

from agent_runner.status.phases import BEGIN, CLAIM, DONE, HAND_BACK, SETTLE, Phase, Step
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.edges import take
from agent_runner.status.store.errors import OtherKeysWorker
from agent_runner.status.store.executions.ending import OPEN, E, End, Ending, dumps, terminal
from agent_runner.status.store.executions.reading import folded
from agent_runner.status.store.records import (
    WHAT_IS_FOUND,
    Appended,
    Begun,
    Claimed,
    NewDelta,
    Outcome,
    RunBeat,
    RunnerVerdict,
    Settled,
)
from agent_runner.status.store.registry.presence import speaks_for
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import executions, session_facts, workers
from agent_runner.status.store.verbs import reads, writes

MIN_TAIL_BYTES = 256 * 1024
"""A snapshot is due when the tail since the last one is larger than this and than that snapshot."""


class WorkerWrites(Ending):
    @writes
    def begin(self, connection: Connection, id: str, begin_id: str, incarnation: str, *, key: str = "") -> Begun:
        """EnsureThread starts. Granted once; a repeated call with the same `begin_id` is granted again.

        `key`: the id of the caller's key; empty for a caller that may act for every worker. Raises `OtherKeysWorker`.
        """
        statement = take(
            BEGIN,
            E.id == id,
            E.due_schedule_to_start > NOW,
            speaks_for(incarnation, key),
            begin_id=begin_id,
            owner=incarnation,
            owner_name=_worker_name(incarnation),
            due_schedule_to_start=FOREVER,
            next_dispatch_at=FOREVER,
            due_ensure_thread=NOW + E.limit_ensure_thread,
        )
        row = connection.execute(statement, self.params()).one_or_none()
        if row is None:
            self._must_speak_for(connection, incarnation, key)
            row = self._row(connection, E.id == id)
            if row is None or row.begin_id != begin_id or row.step != BEGIN.step.value:
                return Begun(granted=False, refusal=_why_not(row, BEGIN.step), execution=None)
        facts = select(session_facts.c.thread_id).where(session_facts.c.session_id == row.session_id)
        thread_id = connection.scalar(facts) or ""
        return Begun(granted=True, refusal="", execution=to_execution(row), thread_id=thread_id)

    @writes
    def done(self, connection: Connection, id: str, begin_id: str, thread_id: str) -> bool:
        """EnsureThread ended: the thread is stored, ExecuteGraphton's schedule-to-start runs from now."""
        statement = take(
            DONE,
            E.id == id,
            E.begin_id == begin_id,
            thread_id=thread_id,
            owner="",
            due_ensure_thread=FOREVER,
            due_worker_lost=FOREVER,
            dispatched_at=NOW,
            due_schedule_to_start=NOW + E.limit_schedule_to_start,
            next_dispatch_at=NOW + E.limit_schedule_to_start / 3,
        )
        self.hold_sessions(connection, E.id == id)
        moved = connection.execute(statement, self.params()).one_or_none()
        if moved is None:
            row = self._row(connection, E.id == id, E.begin_id == begin_id, E.thread_id == thread_id, OPEN)
            return row is not None
        facts = session_facts.c
        connection.execute(
            update(session_facts)
            .where(facts.session_id == moved.session_id, facts.thread_id == "")
            .values(thread_id=thread_id)
        )
        return True

    @writes
    def claim(
        self,
        connection: Connection,
        id: str,
        claim_id: str,
        incarnation: str,
        token_digest: str = "",
        sandbox: str = "",
        *,
        key: str = "",
    ) -> Claimed:
        """Take the run: IN_PROGRESS under a new fence. Refused after the deadline, by the database's clock.

        `token_digest`: the digest of the token that the owner shows from now on; a repeated claim needs the same token.
        `sandbox` says what its commands run in. `key` as in `begin`.
        """
        statement = take(
            CLAIM,
            E.id == id,
            E.due_schedule_to_start > NOW,
            E.due_schedule_to_close > NOW,
            speaks_for(incarnation, key),
            attempt=case((E.resumable == 1, E.attempt), else_=E.attempt + 1),
            claim_id=claim_id,
            run_token=token_digest,
            run_token_fence=E.fence + 1,
            owner=incarnation,
            owner_name=_worker_name(incarnation),
            claimed_at=NOW,
            last_beat_at=NOW,
            due_schedule_to_start=FOREVER,
            next_dispatch_at=FOREVER,
            due_heartbeat=NOW + E.limit_heartbeat,
            due_start_to_close=NOW + E.limit_start_to_close + E.limit_settle_grace,
            last_seq=case((E.resumable == 1, E.last_seq), else_=E.last_seq + 1),
        )
        row = connection.execute(statement, self.params()).one_or_none()
        if row is None:
            self._must_speak_for(connection, incarnation, key)
            row = self._row(connection, E.id == id)
            again = row is not None and row.claim_id == claim_id and row.step == CLAIM.step.value
            if row is None or not again or not compare_digest(row.run_token, token_digest):
                return Claimed(granted=False, refusal=_why_not(row, CLAIM.step), execution=None)
        elif not row.resumable:
            told: dict[str, Any] = {"phase": Phase.IN_PROGRESS.wire_name, "attempt": row.attempt}
            phase = NewDelta(kind="phase", payload=dumps(told | ({"sandbox": sandbox} if sandbox else {})))
            self.write_log(connection, row.handle, row.last_seq - 1, row.fence, [phase])
        of_session = select(session_facts).where(session_facts.c.session_id == row.session_id)
        facts = connection.execute(of_session).one_or_none()
        head, resume = self._begins_at(connection, row, facts.head_checkpoint_id if facts else "")
        previous = self._previous(connection, row)
        undone = select(E.id).where(E.session_id == row.session_id, E.handle < row.handle, E.rolled_back == 1)
        rolled_back = list(connection.scalars(undone)) if row.session_id else []
        return Claimed(
            granted=True,
            refusal="",
            execution=to_execution(row),
            head_checkpoint_id=head,
            sandbox_id=(facts.sandbox_id if facts else "") or row.id,
            resume=resume,
            previous_code=previous.error_code if previous else "",
            untold_execution_id=(untold := _untold(row, previous)),
            go_on_if_found=bool(untold) and row.resume_checkpoint_id == WHAT_IS_FOUND,
            rolled_back=rolled_back,
        )

    @reads
    def run_token(self, connection: Connection, handle: int, fence: int) -> str | None:
        """The digest of the token that the run was claimed with under this fence. Empty: claimed without a token. None:
        the owner has another fence, and had another one when the run ended or was handed back."""
        query = select(E.run_token, E.run_token_fence, E.fence, E.settled_fence, E.step).where(E.handle == handle)
        row = connection.execute(query).one_or_none()
        if row is None or fence <= 0:
            return None
        if row.run_token_fence == fence:
            return row.run_token or ""
        # It was claimed through an older server, which knew no tokens.
        owned = row.fence == fence and row.step == Step.RUNNING.value
        return "" if owned or row.settled_fence == fence else None

    def _must_speak_for(self, connection: Connection, incarnation: str, key: str) -> None:
        if key and not connection.scalar(select(speaks_for(incarnation, key))):
            raise OtherKeysWorker(incarnation)

    def _begins_at(self, connection: Connection, row: Row[Any], head: str) -> tuple[str, bool]:
        """(the checkpoint to begin at, whether to continue without new input). Stored for attempts and redrives."""
        if row.resumable:
            return head, True
        if row.resume_checkpoint_id not in ("", WHAT_IS_FOUND) and row.attempt == 1:
            return row.resume_checkpoint_id, True
        if row.base_given:
            # Also for the next attempt: otherwise the first one's additions to memory would be there twice.
            return row.base_checkpoint_id, False
        base = {"base_checkpoint_id": head, "base_given": 1}
        connection.execute(update(executions).where(E.handle == row.handle).values(**base))
        return head, False

    def _previous(self, connection: Connection, row: Row[Any]) -> Row[Any] | None:
        """The execution before it in its session that was not rolled back."""
        if not row.session_id:
            return None
        before = select(executions).where(E.session_id == row.session_id, E.handle < row.handle, E.rolled_back == 0)
        return connection.execute(before.order_by(E.handle.desc()).limit(1)).one_or_none()

    @writes
    def append(
        self, connection: Connection, handle: int, fence: int, first: int, deltas: Sequence[NewDelta], head: str = ""
    ) -> Appended:
        """Store deltas numbered from `first`, and the run's head checkpoint, under the fence."""
        size = sum(len(d.payload) for d in deltas)
        statement = (
            update(executions)
            .where(*_owned(handle, fence, first))
            .values(
                runner_seq=E.runner_seq + len(deltas), last_seq=E.last_seq + len(deltas), tail_bytes=E.tail_bytes + size
            )
            .returning(executions)
        )
        if head:
            self.hold_sessions(connection, E.handle == handle)
        row = connection.execute(statement).one_or_none()
        if row is None:
            return _unapplied(self._row(connection, E.handle == handle), fence, first, len(deltas))
        self.write_log(connection, handle, row.last_seq - len(deltas), fence, deltas)
        self._set_head(connection, row, head)
        verdict = RunnerVerdict.CANCEL if row.cancel_requested_at is not None else RunnerVerdict.OK
        return Appended(
            verdict=verdict,
            next=row.runner_seq,
            last_seq=row.last_seq,
            execution_id=row.id,
            snapshot_due=row.tail_bytes > max(MIN_TAIL_BYTES, row.snapshot_bytes),
        )

    @writes
    def beat(
        self,
        connection: Connection,
        incarnation: str,
        beats: Sequence[RunBeat],
        *,
        busy: int = 0,
        loop_lag_s: float = 0.0,
        hung_threads: int = 0,
        not_taking: str = "",
    ) -> dict[tuple[int, int], RunnerVerdict]:
        """A heartbeat of the runs of one process. Returns by (handle, fence): go on, cancel, or fenced out."""
        answers: dict[tuple[int, int], RunnerVerdict] = {}
        connection.execute(
            update(workers)
            .where(workers.c.incarnation == incarnation)
            .values(
                last_seen_at=NOW,
                busy=busy,
                loop_lag_s=loop_lag_s,
                hung_threads=hung_threads,
                not_taking=not_taking,
            ),
            self.params(),
        )
        for beat in sorted(beats, key=lambda beat: beat.handle):  # in the order in which others lock them
            statement = (
                update(executions)
                .where(E.handle == beat.handle, E.fence == beat.fence, E.step == Step.RUNNING.value)
                .values(last_beat_at=NOW, due_heartbeat=NOW + E.limit_heartbeat, progress=dumps(dict(beat.progress)))
                .returning(E.cancel_requested_at)
            )
            row = connection.execute(statement, self.params()).one_or_none()
            verdict = RunnerVerdict.FENCED_OUT
            if row is not None:
                verdict = RunnerVerdict.OK if row.cancel_requested_at is None else RunnerVerdict.CANCEL
            answers[beat.handle, beat.fence] = verdict
        return answers

    @writes
    def settle(
        self,
        connection: Connection,
        handle: int,
        fence: int,
        first: int,
        deltas: Sequence[NewDelta],
        head: str,
        outcome: Outcome,
    ) -> Settled:
        """Store the last deltas and the end, in one transaction. A repeated call gets the stored outcome."""
        end = End(phase=outcome.phase, code=outcome.code, facts=outcome.facts, waiting=outcome.waiting)
        self.hold_sessions(connection, E.handle == handle)
        ended = terminal(SETTLE, end, *_owned(handle, fence, first), deltas=len(deltas))
        row = connection.execute(ended, self.params()).one_or_none()
        promoted = ""
        if row is not None:
            self._set_head(connection, row, head)
            promoted = self.finish(connection, row, end, deltas)
        stored = self._row(connection, E.handle == handle)
        if stored is None:
            return Settled(accepted=False, execution=None)
        mine = row is not None or (0 < fence == stored.settled_fence and stored.step == Step.SETTLED.value)
        gap = stored.runner_seq if stored.fence == fence and not mine else 0
        return Settled(accepted=mine, execution=to_execution(stored), next=gap, promoted=promoted)

    @writes
    def hand_back(
        self,
        connection: Connection,
        handle: int,
        fence: int,
        first: int,
        deltas: Sequence[NewDelta],
        head: str,
        reason: str,
    ) -> Settled:
        """Back to the queue at a step boundary: a new fence, the same attempt. Refused while a cancel is pending."""
        noted = [*deltas, NewDelta(kind="note", payload=dumps({"text": f"handed back: {reason}"}))]
        statement = take(
            HAND_BACK,
            *_owned(handle, fence, first),
            E.cancel_requested_at.is_(None),
            settled_fence=fence,
            resumable=1,
            owner="",
            runner_seq=E.runner_seq + len(deltas),
            last_seq=E.last_seq + len(noted),
            due_heartbeat=FOREVER,
            due_worker_lost=FOREVER,
            due_start_to_close=FOREVER,
            dispatched_at=None,
            next_dispatch_at=NOW,
        )
        self.hold_sessions(connection, E.handle == handle)
        row = connection.execute(statement, self.params()).one_or_none()
        if row is not None:
            self.write_log(connection, handle, row.last_seq - len(noted), fence, noted)
            self._set_head(connection, row, head)
        stored = row or self._row(connection, E.handle == handle)
        accepted = stored is not None and (row is not None or 0 < fence == stored.settled_fence)
        return Settled(accepted=accepted, execution=to_execution(stored) if stored else None)

    @writes
    def snapshot_if_due(self, connection: Connection, id: str) -> bool:
        """Write a snapshot when the tail is larger than the last one. So at most twice the log is written."""
        row = self._row(connection, E.id == id, OPEN)
        if row is None or row.tail_bytes <= max(MIN_TAIL_BYTES, row.snapshot_bytes):
            return False
        state = folded(connection, row.handle)
        self.write_snapshot(connection, row.handle, row.last_seq, state.to_json())
        return True

    def _row(self, connection: Connection, *conditions: ColumnElement[bool]) -> Row[Any] | None:
        return connection.execute(select(executions).where(*conditions)).one_or_none()

    def _set_head(self, connection: Connection, row: Row[Any], head: str) -> None:
        if head:
            facts = session_facts.c
            moved = connection.execute(
                update(session_facts)
                .where(facts.session_id == row.session_id, facts.head_checkpoint_id != head)
                .values(head_checkpoint_id=head)
            )
            if moved.rowcount:  # the head moved past the question, so the question has been answered
                self.no_longer_waiting(connection, row)


def _worker_name(incarnation: str) -> Any:
    named = select(workers.c.name).where(workers.c.incarnation == incarnation).scalar_subquery()
    return case((named.is_not(None), named), else_=incarnation)


def _owned(handle: int, fence: int, first: int) -> tuple[ColumnElement[bool], ...]:
    return (E.handle == handle, E.fence == fence, E.step == Step.RUNNING.value, E.runner_seq == first)


def _unapplied(row: Row[Any] | None, fence: int, first: int, count: int) -> Appended:
    """Why an append did not match: not the owner, already stored, or a gap."""
    if row is None or row.fence != fence or row.step != Step.RUNNING.value:
        return Appended(verdict=RunnerVerdict.FENCED_OUT, next=0, last_seq=0, execution_id=row.id if row else "")
    if row.runner_seq < first + count:
        verdict = RunnerVerdict.GAP
    else:
        verdict = RunnerVerdict.OK if row.cancel_requested_at is None else RunnerVerdict.CANCEL
    return Appended(
        verdict=verdict,
        next=row.runner_seq,
        last_seq=row.last_seq,
        execution_id=row.id,
    )


def _untold(row: Row[Any], previous: Row[Any] | None) -> str:
    """The id of the execution before, if the server ended it; empty for a run that begins before that one."""
    if previous is None or previous.settled_fence or row.resumable or row.attempt > 1:
        return ""
    return str(previous.id) if row.resume_checkpoint_id or not row.redriven_from else ""


def _why_not(row: Row[Any] | None, wanted: Step) -> str:
    if row is None:
        return "no such execution"
    if row.phase >= Phase.COMPLETED:
        return f"it has ended ({Phase(row.phase).name} {row.error_code})".replace(" )", ")")
    if row.step == wanted.value:
        return f"another delivery of it runs on {row.owner_name}"
    return f"it is in step {row.step}, or its deadline has passed"
