"""Create an execution and admit it to its session. The row is the outbox: it exists before any message."""

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, Row
from sqlalchemy.exc import IntegrityError

from agent_runner.status.log.events import USER_MESSAGE
from agent_runner.status.log.log import LogRow, State
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.schedules.schedule import FiringOutcome
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import NotDue, NoWorker, StoreConflict
from agent_runner.status.store.executions.attachments import put_attachments
from agent_runner.status.store.executions.tags import put_execution_tags
from agent_runner.status.store.logs.log_writes import LOG_ROW
from agent_runner.status.store.records import Created, CreateVerdict, NewExecution, Resource, ResourceKind
from agent_runner.status.store.registry.presence import online_worker
from agent_runner.status.store.registry.resources import Resources
from agent_runner.status.store.rows import dumps, limits_of, to_execution, to_resource
from agent_runner.status.store.run_records import NewDelta, NewRows
from agent_runner.status.store.statements import made
from agent_runner.status.store.statements.named import resource_by_id
from agent_runner.status.store.turns.answer_tokens import take_answer
from agent_runner.status.store.turns.firings import take
from agent_runner.status.store.turns.org_use import OrgUse
from agent_runner.status.store.turns.several_at_once import Multitasking
from agent_runner.status.store.verbs import Orgs, reads, verb, writes


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


UNSEEN_MOST = 256
"""So many creates may be under way that a count does not see: 16 servers with all connections of theirs."""


class Creation(Multitasking, OrgUse, Resources):
    def __init__(self, engine: Engine, now: Callable[[], float] | None) -> None:
        super().__init__(engine, now)
        self._near_cap: set[str] = set()
        """Queues in which the last count found less room than `UNSEEN_MOST`."""

    @verb(orgs=Orgs.WRITES)
    async def create(
        self, new: NewExecution, *, session: Resource | None = None, queue_cap: int = 0, silent_s: float = 0.0
    ) -> Created:
        """Store an execution and admit it to its session, or queue it there. `session`: a new one, which is stored if
        the execution is. `queue_cap` 0: no cap on its queue. `silent_s`: only if a worker of its queue was heard of
        within so long; 0: in any case.

        Raises `NotDue` if it is the firing of a schedule that another one has taken, `AnswerNotTaken` if its token is
        not good any more, `OrgBudgetSpent` if its org has used its budget, and `NoWorker`.
        """
        if session is not None and (session.id, session.org) != (new.session_id, new.org):
            raise ValueError(f"session {session.id!r} of org {session.org!r} is not that of the execution")
        try:
            return await self._create(new, session, queue_cap, silent_s)
        except IntegrityError:
            return await self._known(new)

    @reads(orgs=Orgs.FINDS, short=True)
    def session_place(
        self, connection: Connection, session_id: str
    ) -> tuple[Resource, Resource, Resource, str | None] | None:
        """A session, its instance, its agent, and the graph of its newest execution if there is one. None unless all
        three exist."""
        place: list[Resource] = []
        for kind in (ResourceKind.SESSION, ResourceKind.AGENT_INSTANCE, ResourceKind.AGENT):
            id = place[-1].parent_id if place else session_id
            row = connection.one(resource_by_id(), its_kind=kind.value, its_id=id)
            if row is None:
                return None
            place.append(to_resource(row))
        session, instance, agent = place
        return session, instance, agent, connection.first(made.last_graph(), its_session=session_id)

    @writes(short=True)
    def _create(
        self, connection: Connection, new: NewExecution, session: Resource | None, queue_cap: int, silent_s: float
    ) -> Created:
        if new.attachments:
            connection.may_last()
        if known := self._by_key(connection, new):
            return Created(verdict=CreateVerdict.KNOWN, execution=to_execution(known))
        if silent_s:
            there = self.params(its_queue=new.runner_queue, silent_s=silent_s)
            if connection.first(online_worker(), **there) is None:
                raise NoWorker
        if queue_cap and self._full(connection, new.runner_queue, queue_cap):
            return Created(verdict=CreateVerdict.QUEUE_FULL, execution=None)
        busy = bool(new.session_id) and self._session_busy(connection, new)
        if busy and new.multitask is Multitask.REJECT:
            return Created(verdict=CreateVerdict.SESSION_BUSY, execution=None)
        if new.fired and not take(connection, self.params(), new.fired, FiringOutcome.FIRED, execution_id=new.id):
            raise NotDue  # takes back what was written so far
        if new.answer_digest:
            take_answer(connection, self.params(), new.answer_digest, execution_id=new.id)
        superseded: list[Row[Any]] = []
        if new.session_id and new.multitask in (Multitask.INTERRUPT, Multitask.ROLLBACK):
            superseded = self.supersede(connection, new.session_id, new.multitask)
            busy = any(row.phase not in TERMINAL_PHASES for row in superseded)
        room = self.room_for(connection, new.org)
        after_s = max(new.after_s, room.wait_s if room else 0.0)
        later = after_s > 0
        is_ready = self.turns.on and not busy and not later
        waits = {"wait_s": new.timeouts.thread_wait_s + after_s, "close_s": new.timeouts.schedule_to_close_s}
        first = _first_rows(new)
        row = connection.only(
            made.row(waits=busy or later or self.turns.on, later=later, is_ready=is_ready),
            **self.params(**waits, after_s=after_s),
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
            max_attempts=new.retry.maximum_attempts,
            retry=new.retry.to_json(),
            priority=new.priority,
            runner_queue=new.runner_queue,
            orchestrator_queue=new.orchestrator_queue,
            last_seq=len(first),
            multitask=new.multitask.value,
            webhook=new.webhook[0] if new.webhook else None,
            webhook_events=new.webhook[1] if new.webhook else "",
            **limits_of(new.timeouts),
        )
        # All rows have the time of the execution, so what is told here is what a reader of the log will see.
        told = [(0, delta) for delta in first]
        rows = self.log_rows(row.handle, 0, told)
        connection.run_many(LOG_ROW, [one | {"now": row.created_at} for one in rows])
        self.tell_rows(connection, NewRows(execution_id=row.id, before=0, at=row.created_at, told=told))
        if room:
            self.count_execution(connection, new.org, room)
        self._put_beside(connection, row.handle, new, session)
        state = State.empty()
        for n, delta in enumerate(first, 1):
            state.apply(LogRow(seq=n, at=row.created_at, fence=0, kind=delta.kind, payload=json.loads(delta.payload)))
        return Created(
            verdict=CreateVerdict.CREATED,
            execution=to_execution(row),
            state=state,
            superseded=[to_execution(one) for one in superseded],
        )

    def _put_beside(self, connection: Connection, handle: int, new: NewExecution, session: Resource | None) -> None:
        if session is not None:
            self.put_in(connection, session, None)
        put_execution_tags(connection, handle, new.spec)
        put_attachments(connection, handle, new.attachments)

    def _session_busy(self, connection: Connection, new: NewExecution) -> bool:
        """Take the session's lock (Postgres; SQLite has one writer) and look for an execution that has not ended."""
        opened = made.session_used(sqlite=self.is_sqlite, redrive=bool(new.redriven_from), threaded=bool(new.thread_id))
        its = {"session_id": new.session_id, "one_shot": int(new.one_shot), "thread_id": new.thread_id}
        connection.run(opened, **self.params(**its))
        return connection.first(made.open_one(), **self.params(its_session=new.session_id)) is not None

    def _full(self, connection: Connection, queue: str, cap: int) -> bool:
        """Near the cap one counts after the other: two that count at once would both find room. Far from it all count
        at once, and those who are near wait for them. On SQLite there is one writer anyway."""
        alone = queue in self._near_cap
        if not self.is_sqlite:
            connection.one(made.queue_lock(shared=not alone), its_queue=queue)
        queued = self._queued(connection, queue)
        if queued + 2 * UNSEEN_MOST < cap:  # twice: at the border a queue would be taken in and out all the time
            self._near_cap.discard(queue)
        if queued + UNSEEN_MOST >= cap and not alone and not self.is_sqlite:
            self._near_cap.add(queue)
            raise StoreConflict("the queue is nearly full")  # counts again, alone
        return queued >= cap

    def _queued(self, connection: Connection, queue: str) -> int:
        return int(connection.first(made.queued(), its_queue=queue))

    def _by_key(self, connection: Connection, new: NewExecution) -> Row[Any] | None:
        if not new.idempotency_key:
            return None
        return connection.one(made.by_key(), its_org=new.org, its_key=new.idempotency_key)

    @reads(alone=True, short=True)
    def _known(self, connection: Connection, new: NewExecution) -> Created:
        """The insert failed because of a row that came in between: it has the same key, or the same given id."""
        row = self._by_key(connection, new)
        if row:
            return Created(verdict=CreateVerdict.KNOWN, execution=to_execution(row))
        return Created(verdict=CreateVerdict.ID_TAKEN, execution=None)
