"""Calls of webhooks at the end of executions: an outbox in the row itself, taken by one server at a time.

The end of an execution makes its call due, in the same statement. A server that takes a call and dies leaves it due
again a little later, so a call may come twice and is never lost before its last try.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select, update

from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import E
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import executions
from agent_runner.status.store.verbs import reads, verb, writes

LEASE_S = 60.0
"""A call that was taken is due again after this, if its server says nothing."""
PAUSE_FIRST_S, PAUSE_MOST_S, TRIES = 2.0, 600.0, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookCall:
    """`sealed`: the address, encrypted. `tries`: with this one."""

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
        return connection.scalar(_due(1), self.params()) is not None

    @writes
    def _calls_taken(self, connection: Connection, limit: int) -> Sequence[WebhookCall]:
        due = _due(limit)
        if not self.is_sqlite:
            due = due.with_for_update(skip_locked=True)
        taken = (
            update(executions)
            .where(E.handle.in_(due), E.webhook_due_at <= NOW)
            .values(webhook_due_at=NOW + LEASE_S, webhook_tries=E.webhook_tries + 1)
            .returning(executions)
        )
        rows = connection.execute(taken, self.params())
        return [WebhookCall(execution=to_execution(row), sealed=row.webhook, tries=row.webhook_tries) for row in rows]

    @writes
    def webhook_called(self, connection: Connection, id: str, *, ok: bool, tries: int) -> None:
        """The call was answered, or it failed and is due again after a pause; after its last try it is given up."""
        over = ok or tries >= TRIES
        pause_s = min(PAUSE_FIRST_S * 4 ** (tries - 1), PAUSE_MOST_S)
        changed = {"webhook": None, "webhook_due_at": FOREVER} if over else {"webhook_due_at": NOW + pause_s}
        mine = update(executions).where(E.id == id, E.webhook_tries == tries).values(**changed)
        connection.execute(mine, self.params())


def _due(limit: int) -> Select[tuple[int]]:
    due = (E.webhook.is_not(None), E.webhook_due_at <= NOW)
    return select(E.handle).where(*due).order_by(E.webhook_due_at).limit(limit)
