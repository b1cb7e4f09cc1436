"""The writes of a worker that has a run. Every verb is one conditional statement on (execution, fence). It may be
repeated (L3).

The answer to a repeated call is the answer to the first one: a reply that got lost changes nothing.
"""

from asyncio import gather
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.driver.transaction import SHORT_BYTES, Connection
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.executions.claims import Claims
from agent_runner.status.store.executions.ending import OPEN, E, End, is_large
from agent_runner.status.store.executions.reading import by_handle, folded
from agent_runner.status.store.logs.log_writes import LOG_ROW
from agent_runner.status.store.logs.purge import purge_edited
from agent_runner.status.store.rows import dumps, to_execution
from agent_runner.status.store.run_records import (
    Appended,
    NewDelta,
    NewRows,
    Outcome,
    RunBeat,
    RunDeltas,
    RunnerVerdict,
    Settled,
)
from agent_runner.status.store.statements import runs
from agent_runner.status.store.turns.org_use import OrgUse
from agent_runner.status.store.turns.run_refusals import unapplied
from agent_runner.status.store.verbs import verb, writes

MIN_TAIL_BYTES = 256 * 1024
"""A snapshot is due when the tail since the last one is larger than this and than that snapshot."""


class WorkerWrites(Claims, OrgUse):
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

    def _set_head(self, connection: Connection, row: Row[Any], head: str) -> None:
        if head:
            moved = connection.run(runs.head(), its_session=row.session_id, head_checkpoint_id=head)
            if moved:  # the head moved past the question, so the question has been answered
                self.no_longer_waiting(connection, row)


def _its(handle: int, fence: int, first: int) -> dict[str, int]:
    return {"its_handle": handle, "its_fence": fence, "its_first": first}
