"""The presence of workers, by the incarnation of their process.

A missing stream alone proves nothing. Only a live server that saw a stream end without a goodbye writes
`disconnected_at`. A HELLO on any server clears it. After the grace the sweeper declares the worker lost. A reported
exit needs no grace.
"""

from collections.abc import Sequence

from sqlalchemy import ClauseElement, ColumnElement, Select, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from agent_runner.status.failures import Code
from agent_runner.status.log.log import rfc3339
from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.ready import ready, seconds, text_of
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import OtherKeysWorker
from agent_runner.status.store.executions.ending import OPEN, E, End, Ending
from agent_runner.status.store.records import Execution, Worker
from agent_runner.status.store.rows import to_execution, to_worker
from agent_runner.status.store.schema import executions, startup_failures, workers
from agent_runner.status.store.verbs import Orgs, reads, writes

OWNED_STEPS = (Step.THREAD_STARTED.value, Step.RUNNING.value)
WORKER = "worker"
SHOWN_AFTER_S = 24 * 3600.0
"""Workers that left longer ago than this are no longer listed."""


def registered_by(incarnation: str) -> Select[str]:
    """The id of the key that registered this process or its parent process; no row: no key has."""
    parts = incarnation.split(".")
    names = [".".join(parts[: n + 1]) for n in range(len(parts))]
    w = workers.c
    return select(w.key_id).where(w.incarnation.in_(names)).order_by(func.length(w.incarnation).desc()).limit(1)


def speaks_for(incarnation: str, key: str) -> ColumnElement[bool]:
    """Whether this key may act for the process: the key registered it, or no key has. An empty key may act for all."""
    return func.coalesce(registered_by(incarnation).scalar_subquery(), key) == key if key else true()


@ready
def _cancels() -> ClauseElement:
    mine = (E.owner == text_of("its_owner"), E.step == Step.RUNNING.value, E.cancel_requested_at.is_not(None))
    # The condition of the partial index by owner is written out, so that it is used.
    return select(executions).where(*mine, OPEN)


@ready
def online_worker() -> ClauseElement:
    """A worker of a queue that is connected, and was heard of in the last seconds."""
    w = workers.c
    there = (w.gone_at.is_(None), w.disconnected_at.is_(None), w.last_seen_at > NOW - seconds("silent_s"))
    return select(w.incarnation).where(w.queue == text_of("its_queue"), w.role == WORKER, *there).limit(1)


class Presence(Ending):
    @writes
    def hello(
        self,
        connection: Connection,
        *,
        incarnation: str,
        queue: str,
        role: str,
        hostname: str,
        pid: int,
        slots: int,
        name: str,
        version: str,
        key_id: str = "",
        sandbox: str = "",
    ) -> None:
        """A worker's stream is open. Clears `disconnected_at`, `gone_at` and the exit text of an earlier connection.

        The process belongs to `key_id` from the first call on; raises `OtherKeysWorker` for another key.
        """
        insert = sqlite_insert if self.is_sqlite else postgres_insert
        facts = {
            "queue": queue,
            "role": role,
            "hostname": hostname,
            "pid": pid,
            "slots": slots,
            "name": name,
            "version": version,
            "sandbox": sandbox,
        }
        fresh = {"last_seen_at": NOW, "disconnected_at": None, "gone_at": None, "exit_text": "", "not_taking": ""}
        statement = insert(workers).values(incarnation=incarnation, connected_at=NOW, key_id=key_id, **facts, **fresh)
        mine = workers.c.key_id == key_id if key_id else None
        registered = connection.execute(
            statement.on_conflict_do_update(index_elements=["incarnation"], set_=facts | fresh, where=mine),
            self.params(),
        )
        if not registered.rowcount:
            raise OtherKeysWorker(incarnation)
        connection.execute(
            update(executions).where(E.handle.in_(self._owned(E.owner == incarnation))).values(due_worker_lost=FOREVER)
        )
        connection.execute(startup_failures.delete().where(startup_failures.c.queue == queue))

    @reads(orgs=Orgs.NOBODYS, short=True)
    def worker_key(self, connection: Connection, incarnation: str) -> str | None:
        """The id of the key that registered this process or its parent process; None: no key has."""
        found: str | None = connection.scalar(registered_by(incarnation))
        return found

    @writes
    def goodbye(self, connection: Connection, incarnation: str) -> None:
        """A worker leaves on purpose, with nothing running."""
        connection.execute(
            update(workers).where(workers.c.incarnation == incarnation).values(gone_at=NOW), self.params()
        )

    @writes
    def disconnected(self, connection: Connection, incarnation: str, grace_s: float) -> None:
        """A live server saw the stream end without a goodbye: the runs are lost after `grace_s` without the worker."""
        statement = update(workers).where(workers.c.incarnation == incarnation, workers.c.gone_at.is_(None))
        found = connection.execute(statement.values(disconnected_at=NOW), self.params())
        if found.rowcount:
            connection.execute(
                update(executions)
                .where(E.handle.in_(self._owned(E.owner == incarnation)))
                .values(due_worker_lost=NOW + grace_s),
                self.params(),
            )

    @writes
    def exited(self, connection: Connection, incarnation: str, text: str) -> list[Execution]:
        """A process died; `text` says how ("signal 9"). Its runs end now, or go on to their next attempt; those of its
        prefork children, too. Returns them as they were before."""
        child, w = f"{incarnation}.", workers.c
        mine = or_(w.incarnation == incarnation, w.incarnation.startswith(child, autoescape=True))
        owned = or_(E.owner == incarnation, E.owner.startswith(child, autoescape=True))
        self.hold_sessions(connection, owned, E.step.in_(OWNED_STEPS))
        connection.execute(update(workers).where(mine).values(gone_at=NOW, exit_text=text), self.params())
        return self._lose(connection, owned, text)

    def _owned(self, whose: ColumnElement[bool]) -> Select[tuple[int]]:
        """Handles of runs, locked in the order in which beats lock them."""
        return select(E.handle).where(whose, E.step.in_(OWNED_STEPS)).order_by(E.handle).with_for_update()

    def _lose(self, connection: Connection, owned: ColumnElement[bool], text: str) -> list[Execution]:
        ended: list[Execution] = []
        rows = connection.execute(select(executions).where(owned, E.step.in_(OWNED_STEPS)).order_by(E.handle))
        for row in list(rows):
            activity = "EnsureThread" if row.step == Step.THREAD_STARTED.value else "ExecuteGraphton"
            facts = {
                "cause": text,
                "worker": row.owner_name,
                "activity": activity,
                "last_heartbeat": row.last_beat_at and rfc3339(row.last_beat_at),
            }
            end = End(phase=Phase.FAILED, code=Code.WORKER_LOST, facts=facts)
            again = self.try_again(connection, row, end)
            if again or self.end_row(connection, end, E.handle == row.handle, E.fence == row.fence):
                ended.append(to_execution(row))
        return ended

    @reads
    def cancels_of(self, connection: Connection, incarnations: Sequence[str]) -> list[Execution]:
        """Runs of these processes that are to be cancelled."""
        found = (connection.all(_cancels(), its_owner=incarnation) for incarnation in incarnations)
        return [to_execution(row) for rows in found for row in rows]

    @writes
    def startup_failed(self, connection: Connection, queue: str, role: str, text: str) -> None:
        """A worker for this queue could not start; E101 quotes the text until a worker starts."""
        insert = sqlite_insert if self.is_sqlite else postgres_insert
        values = {"role": role, "at": NOW, "text": text}
        statement = insert(startup_failures).values(queue=queue, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["queue"], set_=values), self.params())

    @reads(orgs=Orgs.NOBODYS)
    def last_startup_failure(self, connection: Connection, queue: str) -> tuple[float, str] | None:
        """(when, the banner's text) of the last worker that failed to start, if none has started since."""
        query = select(startup_failures.c.at, startup_failures.c.text).where(startup_failures.c.queue == queue)
        row = connection.execute(query).one_or_none()
        return (row.at, row.text) if row else None

    @reads(orgs=Orgs.NOBODYS)
    def workers(self, connection: Connection, queue: str | None = None) -> Sequence[Worker]:
        """Workers that have not left, or left less than `SHOWN_AFTER_S` ago; newest first."""
        w = workers.c
        query = select(workers).where(or_(w.gone_at.is_(None), w.gone_at > NOW - SHOWN_AFTER_S))
        if queue is not None:
            query = query.where(w.queue == queue)
        return [to_worker(r) for r in connection.execute(query.order_by(w.connected_at.desc()), self.params())]
