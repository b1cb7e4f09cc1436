"""What a store asks its database, as the driver sees it (SQLite): statements of every kind, with their values."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from agent_runner.status.store.connection import Transactions


@contextmanager
def statements(store: Transactions) -> Iterator[list[str]]:
    """The list grows while the block runs. Every thread of the store connects anew for it, and once more afterwards."""
    seen: list[str] = []
    with _each_connection(store, lambda raw: raw.set_trace_callback(seen.append)):
        yield seen


@contextmanager
def preparations(store: Transactions) -> Iterator[list[str]]:
    """As `statements`: it grows whenever SQLite makes a program of a statement, by what the program is to touch."""
    seen: list[str] = []

    def allowed(_action: int, *what: str | None) -> int:
        seen.append(" ".join(filter(None, what)))
        return sqlite3.SQLITE_OK

    with _each_connection(store, lambda raw: raw.set_authorizer(allowed)):
        yield seen


@contextmanager
def _each_connection(store: Transactions, prepare: Callable[[Any], None]) -> Iterator[None]:
    def connected(raw: Any, _record: Any) -> None:
        prepare(raw)

    event.listen(store.engine, "connect", connected)
    store.outages.seen += 1
    try:
        yield
    finally:
        event.remove(store.engine, "connect", connected)
        store.outages.seen += 1
