"""Retention: old executions are purged. Removals that only workers can do are noted until a worker confirms them.

Every verb is one batch, so that no transaction is long. Any number of servers may call them at the same time. An
execution that has not ended is never touched, nor is the head of a session's memory while the session exists.

Sandboxes and checkpoints belong to the workers. So a removal is a message, which may come late, twice or never. None
of that does harm: before a sandbox is removed, its session has a new sandbox name; a thread loses only checkpoints that
no turn from its head can need; a removal that no worker confirmed is published again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Row,
    Select,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from agent_runner.status.phases import TERMINAL_PHASES
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import OPEN, E
from agent_runner.status.store.records import Purged, Removal, ResourceKind
from agent_runner.status.store.schema import (
    execution_attachments,
    execution_log,
    execution_snapshots,
    executions,
    removals,
    resources,
    session_facts,
    skill_artifacts,
    skill_tags,
    threads,
)
from agent_runner.status.store.verbs import reads, verb, writes

BATCH, MAX_LOG_ROWS = 100, 10_000
"""The most executions of one transaction, and about the most rows of their logs."""
ARCHIVES = 10
AGAIN_AT_MOST_S = 86_400.0
DELETED = -FOREVER
"""The `used_at` of a deleted session: earlier than any other."""

F, M, R = session_facts.c, removals.c, resources.c
_OF_SESSION = (R.kind == ResourceKind.SESSION.value, R.id == F.session_id)
_EXISTS = exists().where(*_OF_SESSION)
_BUSY = exists().where(E.session_id == F.session_id, OPEN)
_UNCONFIRMED = select(func.count()).select_from(removals)
_OF_NO_SKILL = ~exists().where(R.kind == ResourceKind.SKILL.value, R.id == skill_artifacts.c.skill_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """What retention would remove now. `unconfirmed`: removals that no worker has confirmed yet."""

    executions: int
    log_rows: int
    bytes: int
    sessions: int
    skill_archives: int
    unconfirmed: int


class Retention(Transactions):
    @verb
    async def purge(self, older_than_s: float) -> Purged:
        """Remove executions that ended at least `older_than_s` ago, the oldest first, with all their data: logs,
        snapshots, attachments, tags, keys, contexts."""
        # Mostly none is old: do not take the writer for that.
        return await self._purge(older_than_s) if await self._any_ended(older_than_s) else Purged()

    @reads
    def _any_ended(self, connection: Connection, seconds_ago: float) -> bool:
        return connection.scalar(_oldest(seconds_ago).limit(1), self.params()) is not None

    @writes
    def _purge(self, connection: Connection, seconds_ago: float) -> Purged:
        rows = list(connection.execute(self._mine(_oldest(seconds_ago).limit(BATCH)), self.params()))
        batch = _of_bounded_size(rows)
        handles = [row.handle for row in batch]
        size = self._bytes(connection, execution_log.c.handle.in_(handles), handles)
        log_rows = connection.execute(delete(execution_log).where(execution_log.c.handle.in_(handles))).rowcount
        for table in (execution_snapshots, executions):
            connection.execute(delete(table).where(table.c.handle.in_(handles)))
        context = R.kind == ResourceKind.EXECUTION_CONTEXT.value
        connection.execute(delete(resources).where(context, R.parent_id.in_([row.id for row in batch])))
        more = len(rows) == BATCH or len(batch) < len(rows)
        return Purged(executions=len(batch), log_rows=log_rows, bytes=size, more=more)

    @verb
    async def retire_sessions(self, idle_s: float) -> list[str]:
        """Retire one batch of sessions that were deleted, or have no execution left and were not used for `idle_s`.

        Returns their ids. A session that was created for one execution is removed with it. Any other session keeps its
        thread and its head, and its next turn gets a new sandbox.
        """
        if not await self._any_idle(idle_s):
            return []
        return [removal.session_id for removal in await self._retire(*_idle(idle_s)) if removal.sandbox_id]

    @reads
    def _any_idle(self, connection: Connection, idle_s: float) -> bool:
        due = select(F.session_id).where(*_idle(idle_s)).order_by(F.used_at).limit(1)
        return connection.scalar(due, self.params()) is not None

    @verb
    async def retire_session(self, session_id: str) -> list[Removal]:
        """The removals for a session that was deleted; none as long as one of its executions is open."""
        return await self._retire(F.session_id == session_id, F.used_at == DELETED, ~_BUSY)

    @writes
    def _retire(self, connection: Connection, *conditions: ColumnElement[bool]) -> list[Removal]:
        chosen = (
            select(session_facts, _EXISTS.label("exists"))
            .where(*conditions)
            .order_by(F.used_at, F.session_id)
            .limit(BATCH)
        )
        noted: list[Removal] = []
        for row in list(connection.execute(self._mine(chosen, of=session_facts), self.params())):
            mine = F.session_id == row.session_id
            stays = row.exists
            if stays and row.one_shot:
                of_it = (R.kind == ResourceKind.SESSION.value, R.id == row.session_id)
                connection.execute(delete(resources).where(*of_it))
                connection.execute(delete(threads).where(threads.c.session_id == row.session_id))
                stays = False
            head = row.head_checkpoint_id if stays else ""
            noted.append(self._note(connection, row, sandbox_id=row.sandbox_id or row.session_id))
            if row.thread_id and (head or not stays):
                noted.append(self._note(connection, row, thread_id=row.thread_id, head_checkpoint_id=head))
            if stays:
                # Each use adds a turn, and no session is retired twice without a use between: the name is new.
                renamed = {"retired": 1, "sandbox_id": f"{row.session_id}-{row.turns}"}
                connection.execute(update(session_facts).where(mine).values(**renamed))
            else:
                connection.execute(delete(session_facts).where(mine))
        return noted

    def _note(self, connection: Connection, row: Row[Any], **what: str) -> Removal:
        values = insert(removals).values(session_id=row.session_id, created_at=NOW, due_at=NOW, **what)
        return _to_removal(connection.execute(values.returning(removals), self.params()).one())

    @reads
    def due_removals(self, connection: Connection, after: int = 0, *, early: bool = False) -> list[Removal]:
        """One page of the removals to publish now (again), after the id `after`. `early`: also those not due yet."""
        due = select(removals).where(M.id > after).order_by(M.id).limit(BATCH)
        rows = connection.execute(due if early else due.where(M.due_at <= NOW), self.params())
        return [_to_removal(row) for row in rows]

    @writes
    def asked(self, connection: Connection, ids: Sequence[int]) -> None:
        """These were published. A removal without a confirmation is due again after its present age, at most a day."""
        age = NOW - M.created_at
        again = NOW + case((age < AGAIN_AT_MOST_S, age), else_=AGAIN_AT_MOST_S)
        connection.execute(update(removals).where(M.id.in_(ids)).values(due_at=again), self.params())

    @writes
    def removed(
        self, connection: Connection, *, sandbox_id: str = "", thread_id: str = "", head_checkpoint_id: str = ""
    ) -> bool:
        """A worker confirms a removal. False for a second confirmation."""
        what = (M.sandbox_id == sandbox_id, M.thread_id == thread_id, M.head_checkpoint_id == head_checkpoint_id)
        return bool(connection.execute(delete(removals).where(*what)).rowcount)

    @writes
    def give_up_removals(self, connection: Connection, older_than_s: float) -> int:
        """Delete removals that no worker has confirmed for `older_than_s`. Returns how many."""
        statement = delete(removals).where(M.created_at <= NOW - older_than_s)
        return connection.execute(statement, self.params()).rowcount

    @reads
    def unconfirmed(self, connection: Connection) -> int:
        """How many removals no worker has confirmed yet."""
        return connection.scalar(_UNCONFIRMED) or 0

    @verb
    async def purge_skill_archives(self) -> int:
        """One batch of archives, with their tags, of deleted skills; how many. Versions of existing skills stay."""
        found = await self._orphans()
        return await self._drop_archives(found) if found else 0

    @reads
    def _orphans(self, connection: Connection) -> list[tuple[str, str]]:
        a = skill_artifacts.c
        orphans = select(a.skill_id, a.version_hash).where(_OF_NO_SKILL).limit(ARCHIVES)
        return [(row.skill_id, row.version_hash) for row in connection.execute(orphans)]

    @writes
    def _drop_archives(self, connection: Connection, found: Sequence[tuple[str, str]]) -> int:
        a, gone = skill_artifacts.c, 0
        for skill_id, version_hash in found:
            mine = (a.skill_id == skill_id, a.version_hash == version_hash, _OF_NO_SKILL)
            deleted = connection.execute(delete(skill_artifacts).where(*mine)).rowcount
            gone += deleted
            if deleted:
                connection.execute(delete(skill_tags).where(skill_tags.c.skill_id == skill_id))
        return gone

    @reads
    def overdue(self, connection: Connection, older_than_s: float) -> Overdue:
        """Counts what the verbs above would remove at this moment. Changes nothing."""
        ended = _ended_before(older_than_s)
        handles = select(E.handle).where(*ended)
        idle = _idle(older_than_s)
        rows = func.coalesce(func.sum(E.last_seq), 0).label("rows")
        total = connection.execute(select(func.count().label("n"), rows).where(*ended), self.params()).one()
        size = self._bytes(connection, execution_log.c.handle.in_(handles), handles)
        sessions = connection.scalar(select(func.count()).select_from(session_facts).where(*idle), self.params())
        archives = connection.scalar(select(func.count()).select_from(skill_artifacts).where(_OF_NO_SKILL))
        waiting = connection.scalar(_UNCONFIRMED)
        return Overdue(
            executions=total.n,
            log_rows=int(total.rows),
            bytes=size,
            sessions=sessions or 0,
            skill_archives=archives or 0,
            unconfirmed=waiting or 0,
        )

    def _bytes(self, connection: Connection, of_log: ColumnElement[bool], handles: Any) -> int:
        """The bytes of the logs, snapshots and attachments of these executions."""
        total = 0
        for column, mine in (
            (execution_log.c.payload, of_log),
            (execution_snapshots.c.state, execution_snapshots.c.handle.in_(handles)),
        ):
            # SQLite's length() counts the characters of a text, so the text is cast. Postgres has octet_length().
            size = func.length(cast(column, LargeBinary)) if self.is_sqlite else func.octet_length(column)
            found = connection.scalar(select(func.coalesce(func.sum(size), 0)).where(mine), self.params())
            total += int(found or 0)
        attached = execution_attachments.c
        kept = select(func.coalesce(func.sum(attached.size), 0)).where(attached.handle.in_(handles))
        return total + int(connection.scalar(kept, self.params()) or 0)

    def _mine(self, query: Select[Any], **of: Any) -> Select[Any]:
        """Locks the rows for this transaction, without those that another server has locked. SQLite has one writer."""
        return query if self.is_sqlite else query.with_for_update(skip_locked=True, **of)


def disuse(connection: Connection, session_id: str) -> None:
    """A session was deleted: its sandbox and thread are due for removal as soon as none of its executions is open."""
    connection.execute(update(session_facts).where(F.session_id == session_id).values(used_at=DELETED, retired=0))


def _ended_before(seconds_ago: float) -> tuple[ColumnElement[bool], ...]:
    return E.phase >= min(TERMINAL_PHASES), E.completed_at <= NOW - seconds_ago


def _oldest(seconds_ago: float) -> Select[Any]:
    return select(E.handle, E.id, E.last_seq).where(*_ended_before(seconds_ago)).order_by(E.completed_at)


def _idle(idle_s: float) -> tuple[ColumnElement[bool], ...]:
    """Not retired since the last use, not used for `idle_s`, and deleted or without an open or recent execution."""
    stays = exists().where(E.session_id == F.session_id, or_(OPEN, E.completed_at > NOW - idle_s))
    deleted = F.used_at == DELETED
    return F.retired == 0, F.used_at <= NOW - idle_s, or_(~stays, deleted & ~_BUSY)


def _of_bounded_size(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """The first of these executions whose logs have at most `MAX_LOG_ROWS` rows together, but at least one."""
    chosen: list[Row[Any]] = []
    total = 0
    for row in rows:
        total += row.last_seq
        if chosen and total > MAX_LOG_ROWS:
            break
        chosen.append(row)
    return chosen


def _to_removal(row: Row[Any]) -> Removal:
    return Removal(**{name: row._mapping[name] for name in Removal.__dataclass_fields__})
