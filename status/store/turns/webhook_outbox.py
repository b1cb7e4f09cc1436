"""A call of a webhook becomes due in the transaction of what it tells. Executions without a webhook cost nothing."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import ClauseElement, Row
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from agent_runner.status.requests.webhooks import END, QUESTION, START
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.driver.ready import number, ready, text_of
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.schema import webhook_deliveries


def tell_start(connection: Connection, params: Mapping[str, Any], row: Row[Any], *, sqlite: bool) -> None:
    """At each claim; the first one counts."""
    if row.webhook is not None and START in row.webhook_events.split():
        note_call(connection, params, row.handle, START, sqlite=sqlite)


def tell_end(connection: Connection, params: Mapping[str, Any], row: Row[Any], *, sqlite: bool) -> None:
    """One call: about the question if it ended with one and those are wanted, else about the end."""
    if row.webhook is None:
        return
    wanted = row.webhook_events.split()
    event = QUESTION if row.waiting and QUESTION in wanted else END
    if event in wanted:
        note_call(connection, params, row.handle, event, sqlite=sqlite)


def note_call(connection: Connection, params: Mapping[str, Any], handle: int, event: str, *, sqlite: bool) -> None:
    """The call is due now, unless there is one about this event already."""
    its = {"its_id": uuid4().hex, "its_handle": handle, "its_event": event}
    connection.run(_noted(sqlite=sqlite), **params, **its)


@ready
def _noted(*, sqlite: bool) -> ClauseElement:
    insert = sqlite_insert if sqlite else postgres_insert
    its = {"id": text_of("its_id"), "handle": number("its_handle"), "event": text_of("its_event")}
    new = insert(webhook_deliveries).values(**its, at=NOW, due_at=NOW)
    return new.on_conflict_do_nothing(index_elements=["handle", "event"])
