"""The writes of a worker. Every verb is one conditional statement on (execution, fence), and may be repeated (L3).

The answer to a repeated call is the answer to the first one: a reply that got lost changes nothing.
"""

from asyncio import gather
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from agent_runner.status.phases import BEGIN, CLAIM, Phase, Step
from agent_runner.status.store.driver.transaction import SHORT_BYTES, Connection
from agent_runner.status.store.errors import OtherKeysWorker, StoreUnavailable
from agent_runner.status.store.executions.ending import LOG_ROW, OPEN, E, End, Ending, dumps, is_large
from agent_runner.status.store.executions.purge import purge_edited
from agent_runner.status.store.executions.reading import by_handle, by_id, folded, read_rows
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.registry.presence import speaks_for
from agent_runner.status.store.rows import to_execution, to_resource
from agent_runner.status.store.run_records import (
    WHAT_IS_FOUND,
    Appended,
    Begun,
    Bundle,
    Claimed,
    NewDelta,
    NewRows,
    Outcome,
    RunBeat,
    RunDeltas,
    RunnerVerdict,
    Settled,
    thread_of,
)
from agent_runner.status.store.schema import executions
from agent_runner.status.store.statements import runs
from agent_runner.status.store.statements.named import resource_by_id
from agent_runner.status.store.turns.beginning import is_repeated, untold_by
from agent_runner.status.store.turns.org_use import OrgUse
from agent_runner.status.store.turns.run_refusals import unapplied, why_not
from agent_runner.status.store.turns.webhook_outbox import tell_start
from agent_runner.status.store.verbs import reads, verb, writes

MIN_TAIL_BYTES = 256 * 1024
"""A snapshot is due when the tail since the last one is larger than this and than that snapshot."""


class WorkerWrites(Ending, OrgUse):
    @writes(short=True)
    def begin(
        self,
        connection: Connection,
        id: str,
        begin_id: str,
        incarnation: str,
        *,
        key: str = "",
        new_thread_id: str = "",
    ) -> Begun:
        """EnsureThread starts. Granted once; a repeated call with the same `begin_id` is granted again.

        `key`: the id of the caller's key; empty for a caller that may act for every worker. Raises `OtherKeysWorker`.
        `new_thread_id`: the thread of an execution that has no session. If it is given, the step also ends here, as by
        `done`, with the session's thread or a new one.
        """
        if new_thread_id:  # the session comes before its executions, in each transaction that takes both
            self.hold_session(connection, its_id=id)
        its = self.params(its_id=id, begin_id=begin_id, **runs.said_by(incarnation, key))
        row = connection.one(runs.begin(runs.named(incarnation, key)), **its)
        if row is None:
            self._must_speak_for(connection, incarnation, key)
            row = connection.one(by_id(), its_id=id)
            if row is not None and row.begin_id == begin_id and row.step == Step.EXECUTE.value and new_thread_id:
                return Begun(granted=True, refusal="", execution=to_execution(row), thread_id=row.thread_id, done=True)
            if row is None or row.begin_id != begin_id or row.step != BEGIN.step.value:
                return Begun(granted=False, refusal=why_not(row, BEGIN.step), execution=None)
        facts = connection.one(runs.facts(), its_session=row.session_id)
        thread_id = facts.thread_id if facts else ""
        ends = bool(new_thread_id)
        if ends:
            thread_id = thread_id or thread_of(row.session_id) or new_thread_id
            ends = self._done(connection, id, begin_id, thread_id)
        return Begun(granted=True, refusal="", execution=to_execution(row), thread_id=thread_id, done=ends)

    @writes(short=True)
    def done(self, connection: Connection, id: str, begin_id: str, thread_id: str) -> bool:
        """EnsureThread ended: the thread is stored, ExecuteGraphton's schedule-to-start runs from now."""
        self.hold_session(connection, its_id=id)
        return self._done(connection, id, begin_id, thread_id)

    def _done(self, connection: Connection, id: str, begin_id: str, thread_id: str) -> bool:
        moved = connection.one(runs.done(), **self.params(its_id=id, its_begin=begin_id, thread_id=thread_id))
        if moved is None:
            row = self._row(connection, E.id == id, E.begin_id == begin_id, E.thread_id == thread_id, OPEN)
            return row is not None
        connection.run(runs.thread_of(), its_session=moved.session_id, thread_id=thread_id)
        return True

    @writes(short=True)
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
        its = self.params(its_id=id, claim_id=claim_id, run_token=token_digest, **runs.said_by(incarnation, key))
        row = connection.one(runs.claim(runs.named(incarnation, key)), **its)
        if row is None:
            self._must_speak_for(connection, incarnation, key)
            row = connection.one(by_id(), its_id=id)
            again = row is not None and row.claim_id == claim_id and row.step == CLAIM.step.value
            if row is None or not again or not compare_digest(row.run_token, token_digest):
                return Claimed(granted=False, refusal=why_not(row, CLAIM.step), execution=None)
        elif not row.resumable:
            tell_start(connection, self.params(), row, sqlite=self.is_sqlite)
            told: dict[str, Any] = {"phase": Phase.IN_PROGRESS.wire_name, "attempt": row.attempt}
            phase = NewDelta(kind="phase", payload=dumps(told | ({"sandbox": sandbox} if sandbox else {})))
            self.write_log(connection, row, row.last_seq - 1, [(row.fence, phase)], at=row.claimed_at)
        facts = connection.one(runs.facts(), its_session=row.session_id)
        head, resume = self._begins_at(connection, row, facts.head_checkpoint_id if facts else "")
        previous = self._previous(connection, row)
        its = {"its_session": row.session_id, "its_handle": row.handle}
        rolled_back = [one.id for one in connection.all(runs.undone(), **its)] if row.session_id else []
        return Claimed(
            granted=True,
            refusal="",
            execution=to_execution(row),
            head_checkpoint_id=head,
            sandbox_id=(facts.sandbox_id if facts else "") or row.id,
            resume=resume,
            previous_code=previous.error_code if previous else "",
            untold_execution_id=(untold := untold_by(row, previous)),
            go_on_if_found=bool(untold) and (row.resume_checkpoint_id == WHAT_IS_FOUND or is_repeated(row)),
            rolled_back=rolled_back,
            bundle=self._bundle(connection, row),
        )

    def _bundle(self, connection: Connection, row: Row[Any]) -> Bundle:
        def resource(kind: ResourceKind, id: str) -> Resource | None:
            found = connection.one(resource_by_id(), its_kind=kind.value, its_id=id) if id else None
            return to_resource(found) if found else None

        session = resource(ResourceKind.SESSION, row.session_id)
        instance = resource(ResourceKind.AGENT_INSTANCE, session.parent_id if session else "")
        first = read_rows(connection, row.handle, 0, 1)
        return Bundle(
            message=first[0].payload if first else {},
            waiting=bool(row.session_id) and connection.first(runs.waiting(), its_session=row.session_id) is not None,
            session=session,
            instance=instance,
            agent=resource(ResourceKind.AGENT, instance.parent_id if instance else ""),
        )

    @reads(alone=True, short=True)
    def run_token(self, connection: Connection, handle: int, fence: int) -> str | None:
        """The digest of the token that the run was claimed with under this fence. Empty: claimed without a token. None:
        the owner has another fence, and had another one when the run ended or was handed back."""
        row = connection.one(runs.token(), its_handle=handle)
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
        """(the checkpoint to begin at, whether to continue without new input). Stored for redrives."""
        if row.resumable:
            return head, True
        if is_repeated(row):
            # The worker finds out how far the attempts before have come: the last may have reported less than it did.
            return head, head != "" and head == row.resume_checkpoint_id
        if row.resume_checkpoint_id not in ("", WHAT_IS_FOUND) and row.fence == 1:
            return row.resume_checkpoint_id, True
        if row.base_given:
            return row.base_checkpoint_id, False
        connection.run(runs.base(), its_handle=row.handle, base_checkpoint_id=head)
        return head, False

    def _previous(self, connection: Connection, row: Row[Any]) -> Row[Any] | None:
        """The execution before it in its session that was not rolled back."""
        if not row.session_id:
            return None
        return connection.one(runs.before(), its_session=row.session_id, its_handle=row.handle)

    @writes(short=True)
    def append(
        self, connection: Connection, handle: int, fence: int, first: int, deltas: Sequence[NewDelta], head: str = ""
    ) -> Appended:
        """Store deltas numbered from `first`, and the run's head checkpoint, under the fence."""
        said = RunDeltas(handle=handle, fence=fence, first=first, deltas=deltas, head=head)
        (answer,) = self._append(connection, [said])
        return answer

    @verb
    async def append_all(self, said: Sequence[RunDeltas]) -> list[Appended]:
        """`append` for many runs, in one transaction. Each is stored under its own fence, or refused by itself.

        If what one run says cannot be stored, the others' is stored all the same, and then its error is raised.
        """
        try:
            return await self._append_in_one(said)
        except StoreUnavailable:
            raise
        except Exception:
            if len(said) < 2:
                raise
        answers = await gather(*(self._append_in_one([one]) for one in said), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [one for answer in answers if not isinstance(answer, BaseException) for one in answer]

    @writes(short=True)
    def _append_in_one(self, connection: Connection, said: Sequence[RunDeltas]) -> list[Appended]:
        return self._append(connection, said)

    def _append(self, connection: Connection, said: Sequence[RunDeltas]) -> list[Appended]:
        if heads := [one.handle for one in said if one.head]:
            if len(heads) == 1:
                self.hold_session(connection, its_handle=heads[0])
            else:
                self.hold_sessions(connection, E.handle.in_(heads))
        order = sorted(range(len(said)), key=lambda n: said[n].handle)  # in which others lock them
        its = [
            self.params(count=len(one.deltas), size=sum(len(d.payload) for d in one.deltas))
            | _its(one.handle, one.fence, one.first)
            for one in (said[n] for n in order)
        ]
        if sum(one["size"] for one in its) > SHORT_BYTES:
            connection.may_last()
        answers: dict[int, Appended] = {}
        rows: list[dict[str, Any]] = []
        last = -1
        for n, row in zip(order, connection.one_of_each(runs.append(), its), strict=True):
            one, count = said[n], len(said[n].deltas)
            if row is None:
                stored = connection.one(by_handle(), its_handle=one.handle)
                answers[n] = unapplied(stored, one.fence, one.first, count)
                continue
            if one.handle == last:  # its edits are to find its own rows
                connection.run_many(LOG_ROW, rows)
                rows = []
            last = one.handle
            deltas = purge_edited(connection, one.handle, one.deltas)
            told = [(one.fence, delta) for delta in deltas]
            rows += self.log_rows(one.handle, row.last_seq - count, told, at=row.at)
            before = row.last_seq - count
            self.tell_rows(connection, NewRows(execution_id=row.id, before=before, at=row.at, told=told))
            self._set_head(connection, row, one.head)
            answers[n] = Appended(
                verdict=RunnerVerdict.CANCEL if row.cancel_requested_at is not None else RunnerVerdict.OK,
                next=row.runner_seq,
                last_seq=row.last_seq,
                execution_id=row.id,
                snapshot_due=row.tail_bytes > max(MIN_TAIL_BYTES, row.snapshot_bytes),
            )
        connection.run_many(LOG_ROW, rows)
        return [answers[n] for n in range(len(said))]

    @writes(short=True)
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
        slots: int = 0,
    ) -> dict[tuple[int, int], RunnerVerdict]:
        """A heartbeat of a process. By (handle, fence): go on, cancel, or fenced out. `slots` 0: as the hello said."""
        answers: dict[tuple[int, int], RunnerVerdict] = {}
        said = {"busy": busy, "loop_lag_s": loop_lag_s, "hung_threads": hung_threads, "not_taking": not_taking}
        connection.run(runs.worker_beat(), **self.params(incarnation=incarnation, slots=slots, **said))
        ordered = sorted(beats, key=lambda beat: beat.handle)  # in the order in which others lock them
        given = ((beat.handle, beat.fence, dumps(dict(beat.progress))) for beat in ordered)
        its = [self.params(its_handle=handle, its_fence=fence, progress=said) for handle, fence, said in given]
        for beat, row in zip(ordered, connection.one_of_each(runs.beat(), its), strict=True):
            verdict = RunnerVerdict.FENCED_OUT
            if row is not None:
                verdict = RunnerVerdict.OK if row.cancel_requested_at is None else RunnerVerdict.CANCEL
            answers[beat.handle, beat.fence] = verdict
        return answers

    @writes(short=True)
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
        """Store the last deltas and the end, in one transaction; or the end of the attempt, if another one is left. A
        repeated call gets the stored outcome."""
        end = End(phase=outcome.phase, code=outcome.code, facts=outcome.facts, waiting=outcome.waiting)
        self.hold_session(connection, its_handle=handle)
        if end.phase is Phase.FAILED:
            now = connection.one(by_handle(), its_handle=handle)
            mine = now if now is not None and (now.fence, now.runner_seq) == (fence, first) else None
            if (again := self.try_again(connection, mine, end, deltas, first=first)) is not None:
                self._set_head(connection, again, head)
                self.count_use(connection, again.org, outcome.used)
                return Settled(accepted=True, execution=to_execution(again))
        its = self.params(**_its(handle, fence, first), **end.values(deltas=len(deltas)), end_progress=outcome.progress)
        row = connection.one(runs.settle(end.phase, yields=end.yields), **its)
        promoted = ""
        if row is not None:
            self._set_head(connection, row, head)
            promoted = self.finish(connection, row, end, deltas)
            self.count_use(connection, row.org, outcome.used)
        told = row is not None and not is_large(row, deltas)  # a last snapshot is noted in the row
        stored = row if told else connection.one(by_handle(), its_handle=handle)
        if stored is None:
            return Settled(accepted=False, execution=None)
        over = stored.step == Step.SETTLED.value or not stored.resumable  # else it was handed back
        settled = row is not None or (0 < fence == stored.settled_fence and over)
        gap = stored.runner_seq if stored.fence == fence and not settled else 0
        return Settled(accepted=settled, execution=to_execution(stored), next=gap, promoted=promoted)

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
        self.hold_session(connection, its_handle=handle)
        its = self.params(**_its(handle, fence, first), count=len(deltas), rows=len(noted))
        row = connection.one(runs.hand_back(), **its)
        if row is not None:
            self.write_log(connection, row, row.last_seq - len(noted), [(fence, delta) for delta in noted])
            self._set_head(connection, row, head)
        stored = row or connection.one(by_handle(), its_handle=handle)
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
            moved = connection.run(runs.head(), its_session=row.session_id, head_checkpoint_id=head)
            if moved:  # the head moved past the question, so the question has been answered
                self.no_longer_waiting(connection, row)


def _its(handle: int, fence: int, first: int) -> dict[str, int]:
    return {"its_handle": handle, "its_fence": fence, "its_first": first}
