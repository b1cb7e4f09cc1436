"""Calls of webhooks: an outbox, of which each call is taken by one server at a time.

A server that takes a call and dies leaves it due again a little later, so a call may come twice (its id says so) and is
never lost before its last try.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, exists, select, update

from agent_runner.status.phases import TERMINAL_PHASES
from agent_runner.status.requests.webhooks import END
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import E
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import executions, webhook_deliveries
from agent_runner.status.store.turns.webhook_outbox import note_call
from agent_runner.status.store.verbs import reads, verb, writes

W = webhook_deliveries.c
LEASE_S = 60.0
"""A call that was taken is due again after this, if its server says nothing."""
PAUSE_FIRST_S, PAUSE_MOST_S, TRIES = 2.0, 600.0, 8
DELIVERED, GIVEN_UP = "delivered", "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookCall:
    """`id`: the same at each try. `event`: some of `EVENTS`, and `at` when it happened. `sealed`: what to call,
    encrypted. `tries`: with this one."""

    id: str
    event: str
    at: float
    execution: Execution
    sealed: bytes
    tries: int


class WebhookCalls(Transactions):
    @verb
    async def take_webhook_calls(self, limit: int) -> Sequence[WebhookCall]:
        """The calls that are due now; nobody else gets them for a while."""
        # Mostly nothing is due: do not take the writer for that.
        return await self._calls_taken(limit) if await self._any_webhook_due() else []

    @reads
    def _any_webhook_due(self, connection: Connection) -> bool:
        due = (_due(1), _due_in_the_old_way(1))
        return any(connection.scalar(query, self.params()) is not None for query in due)

    @writes
    def _calls_taken(self, connection: Connection, limit: int) -> Sequence[WebhookCall]:
        self._adopt(connection, limit)
        due = _due(limit)
        if not self.is_sqlite:
            due = due.with_for_update(skip_locked=True)
        taken = (
            update(webhook_deliveries)
            .where(W.id.in_(due), W.due_at <= NOW)
            .values(due_at=NOW + LEASE_S, tries=W.tries + 1)
            .returning(webhook_deliveries)
        )
        calls = connection.execute(taken, self.params()).all()
        found = select(executions).where(E.handle.in_({call.handle for call in calls}))
        of = {row.handle: row for row in connection.execute(found)}
        return [
            WebhookCall(
                id=call.id,
                event=call.event,
                at=call.at,
                execution=to_execution(of[call.handle]),
                sealed=of[call.handle].webhook or b"",
                tries=call.tries,
            )
            for call in sorted(calls, key=lambda call: (call.handle, call.at))
        ]

    def _adopt(self, connection: Connection, limit: int) -> None:
        """Servers of an earlier release make the call at an end due in the row of the execution."""
        old = _due_in_the_old_way(limit)
        if not self.is_sqlite:
            old = old.with_for_update(skip_locked=True)
        moved = update(executions).where(E.handle.in_(old)).values(webhook_due_at=FOREVER).returning(E.handle)
        for handle in connection.execute(moved, self.params()).scalars().all():
            note_call(connection, self.params(), handle, END, sqlite=self.is_sqlite)

    @writes
    def webhook_called(self, connection: Connection, call: WebhookCall, *, ok: bool) -> str:
        """The call was answered, or it failed and is due again after a pause; after its last try it is given up.
        Returns DELIVERED, GIVEN_UP, or '' if there is another try. The address goes when nothing is to be called any
        more; with a question it stays for the execution that brings the answer."""
        outcome = DELIVERED if ok else GIVEN_UP if call.tries >= TRIES else ""
        pause_s = min(PAUSE_FIRST_S * 4 ** (call.tries - 1), PAUSE_MOST_S)
        mine = update(webhook_deliveries).where(W.id == call.id, W.tries == call.tries)
        connection.execute(mine.values(outcome=outcome, due_at=FOREVER if outcome else NOW + pause_s), self.params())
        if outcome:
            left = exists().where(W.handle == E.handle, W.outcome == "")
            over = (E.handle == call.execution.handle, E.phase >= min(TERMINAL_PHASES), E.waiting == 0, ~left)
            connection.execute(update(executions).where(*over).values(webhook=None))
        return outcome


def _due(limit: int) -> Select[tuple[str]]:
    return select(W.id).where(W.outcome == "", W.due_at <= NOW).order_by(W.due_at).limit(limit)


def _due_in_the_old_way(limit: int) -> Select[tuple[int]]:
    return select(E.handle).where(E.webhook.is_not(None), E.webhook_due_at <= NOW).limit(limit)
