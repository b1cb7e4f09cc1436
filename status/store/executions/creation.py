"""Create an execution and admit it to its session. The row is the outbox: it exists before any message."""

from typing import Any

from sqlalchemy import Row, case, func, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from agent_runner.status.log.events import USER_MESSAGE
from agent_runner.status.phases import TERMINAL_PHASES, Phase, Step
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.edges import started
from agent_runner.status.store.executions.attachments import put_attachments
from agent_runner.status.store.executions.ending import OPEN, E, dumps
from agent_runner.status.store.executions.tags import put_execution_tags
from agent_runner.status.store.records import Created, CreateVerdict, NewDelta, NewExecution
from agent_runner.status.store.rows import limits_of, to_execution
from agent_runner.status.store.schema import executions, session_facts
from agent_runner.status.store.turns.several_at_once import Multitasking, holds_session
from agent_runner.status.store.verbs import Orgs, reads, verb, writes
from agent_runner.status.timeouts import RESEND_UNSTAMPED_S


def _beside(new: NewExecution) -> dict[str, Any]:
    """The metadata of the user's message: what was sent besides its text."""
    given = ({} if new.input is None else {"input": new.input}) | (
        {"answers": dict(new.answers)} if new.answers else {}
    )
    return given | ({"attachments": list(new.said_with)} if new.said_with else {})


def _first_rows(new: NewExecution) -> list[NewDelta]:
    """The user's message is always the first row. A message whose place is before it says so (`before`)."""
    human: dict[str, Any] = {"id": USER_MESSAGE, "type": "MESSAGE_HUMAN", "content": new.message}
    if metadata := _beside(new):
        human |= {"metadata": metadata, "spoken": new.spoken}
    if new.layout:
        human["layout"] = list(new.layout)
    if new.asked is not None:
        human |= {"asked": dict(new.asked), "spoken": new.spoken}
    told = [human, *({**one, "before": USER_MESSAGE} for one in new.before), *new.after]
    return [
        *(NewDelta(kind="message", payload=dumps(dict(one))) for one in told),
        NewDelta(kind="phase", payload=dumps({"phase": Phase.PENDING.wire_name})),
    ]


class Creation(Multitasking):
    @verb(orgs=Orgs.WRITES)
    async def create(self, new: NewExecution, *, queue_cap: int = 0) -> Created:
        """Store an execution and admit it to its session, or queue it there. `queue_cap` 0: no cap on its queue."""
        try:
            return await self._create(new, queue_cap)
        except IntegrityError:
            return await self._known(new)

    @writes
    def _create(self, connection: Connection, new: NewExecution, queue_cap: int) -> Created:
        if known := self._by_key(connection, new):
            return Created(verdict=CreateVerdict.KNOWN, execution=to_execution(known))
        if queue_cap and self._full(connection, new.runner_queue, queue_cap):
            return Created(verdict=CreateVerdict.QUEUE_FULL, execution=None)
        busy = bool(new.session_id) and self._session_busy(connection, new)
        if busy and new.multitask is Multitask.REJECT:
            return Created(verdict=CreateVerdict.SESSION_BUSY, execution=None)
        superseded: list[Row[Any]] = []
        if new.session_id and new.multitask in (Multitask.INTERRUPT, Multitask.ROLLBACK):
            superseded = self.supersede(connection, new.session_id, new.multitask)
            busy = any(row.phase not in TERMINAL_PHASES for row in superseded)
        clocks: dict[str, Any] = (
            {**started(Step.WAITING), "due_thread_wait": NOW + (new.timeouts.thread_wait_s + new.after_s)}
            if busy or new.after_s > 0
            else {
                **started(Step.ENSURE_THREAD),
                "dispatchable_at": NOW,
                "due_schedule_to_close": NOW + new.timeouts.schedule_to_close_s,
                "next_dispatch_at": NOW + RESEND_UNSTAMPED_S,
            }
        )
        first = _first_rows(new)
        statement = executions.insert().values(
            id=new.id,
            org=new.org,
            session_id=new.session_id,
            agent_id=new.agent_id,
            name=new.name,
            slug=new.slug,
            graph=new.graph,
            model_name=new.model_name,
            redriven_from=new.redriven_from,
            base_checkpoint_id=new.base_checkpoint_id or "",
            base_given=int(new.base_checkpoint_id is not None),
            resume_checkpoint_id=new.resume_checkpoint_id,
            idempotency_key=new.idempotency_key or None,
            spec=dumps(dict(new.spec)),
            sealed_env=new.sealed_env or None,
            max_attempts=new.max_attempts,
            runner_queue=new.runner_queue,
            orchestrator_queue=new.orchestrator_queue,
            created_at=NOW,
            last_seq=len(first),
            multitask=new.multitask.value,
            webhook=new.webhook or None,
            not_before=NOW + new.after_s if new.after_s > 0 else 0,
            **limits_of(new.timeouts),
            **clocks,
        )
        row = connection.execute(statement.returning(executions), self.params()).one()
        self.write_log(connection, row.handle, 0, 0, first)
        put_execution_tags(connection, row.handle, new.spec)
        put_attachments(connection, row.handle, new.attachments)
        return Created(
            verdict=CreateVerdict.CREATED,
            execution=to_execution(row),
            superseded=[to_execution(one) for one in superseded],
        )

    def _session_busy(self, connection: Connection, new: NewExecution) -> bool:
        """Take the session's lock (Postgres; SQLite has one writer) and look for an execution that has not ended."""
        insert = sqlite_insert if self.is_sqlite else postgres_insert
        used = {"used_at": NOW, "retired": 0}
        session_id, once = new.session_id, {"one_shot": int(new.one_shot)}
        thread = {"thread_id": new.thread_id} if new.thread_id else {}
        row = insert(session_facts).values(
            session_id=session_id, sandbox_id=session_id, turns=1, **once, **used, **thread
        )
        # A session with a further execution is not one-shot any more, unless that execution is a redrive.
        again: dict[str, Any] = {"turns": session_facts.c.turns + 1, **used, **({} if new.redriven_from else once)}
        if new.thread_id:
            unnamed = session_facts.c.thread_id == ""
            again["thread_id"] = case((unnamed, new.thread_id), else_=session_facts.c.thread_id)
        connection.execute(row.on_conflict_do_update(index_elements=["session_id"], set_=again), self.params())
        open_one = select(E.handle).where(E.session_id == session_id, holds_session()).limit(1)
        return connection.scalar(open_one, self.params()) is not None

    def _full(self, connection: Connection, queue: str, cap: int) -> bool:
        """Counts one after the other (SQLite has one writer anyway): two that count at once would both find room."""
        if not self.is_sqlite:
            lock = func.pg_advisory_xact_lock(func.hashtextextended(f"agent_runner.queue {queue}", 0))
            connection.execute(select(lock))
        return self._queued(connection, queue) >= cap

    def _queued(self, connection: Connection, queue: str) -> int:
        waiting = (
            select(func.count()).select_from(executions).where(OPEN, E.runner_queue == queue, E.phase == Phase.PENDING)
        )
        return connection.scalar(waiting) or 0

    def _by_key(self, connection: Connection, new: NewExecution) -> Row[Any] | None:
        if not new.idempotency_key:
            return None
        query = select(executions).where(E.org == new.org, E.idempotency_key == new.idempotency_key)
        return connection.execute(query).one_or_none()

    @reads
    def _known(self, connection: Connection, new: NewExecution) -> Created:
        """The insert failed because of a row that came in between: it has the same key, or the same given id."""
        row = self._by_key(connection, new)
        if row:
            return Created(verdict=CreateVerdict.KNOWN, execution=to_execution(row))
        return Created(verdict=CreateVerdict.ID_TAKEN, execution=None)
