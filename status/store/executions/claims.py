"""A worker begins a step, and takes a run with all that it needs. Each verb may be repeated, as its writes may (L3)."""

from hmac import compare_digest
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from agent_runner.status.phases import BEGIN, CLAIM, Phase, Step
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import OtherKeysWorker
from agent_runner.status.store.executions.ending import OPEN, E, Ending
from agent_runner.status.store.executions.reading import by_id, read_rows
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.registry.presence import speaks_for
from agent_runner.status.store.rows import dumps, to_execution, to_resource
from agent_runner.status.store.run_records import (
    WHAT_IS_FOUND,
    Begun,
    Bundle,
    Claimed,
    NewDelta,
    thread_of,
)
from agent_runner.status.store.schema import executions
from agent_runner.status.store.statements import runs
from agent_runner.status.store.statements.named import resource_by_id
from agent_runner.status.store.turns.beginning import is_repeated, untold_by
from agent_runner.status.store.turns.run_refusals import why_not
from agent_runner.status.store.turns.webhook_outbox import tell_start
from agent_runner.status.store.verbs import reads, writes


class Claims(Ending):
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

    def _row(self, connection: Connection, *conditions: ColumnElement[bool]) -> Row[Any] | None:
        return connection.execute(select(executions).where(*conditions)).one_or_none()
