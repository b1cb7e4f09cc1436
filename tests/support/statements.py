"""What a store asks its database, as the driver sees it (SQLite): statements of every kind, with their values."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from agent_runner.status.store.connection import Transactions


@contextmanager
def statements(store: Transactions) -> Iterator[list[str]]:
    """The list grows while the block runs. Every thread of the store connects anew for it, and once more afterwards."""
    seen: list[str] = []

    def trace(raw: Any, _record: Any) -> None:
        raw.set_trace_callback(seen.append)

    event.listen(store.engine, "connect", trace)
    store.outages.seen += 1
    try:
        yield seen
    finally:
        event.remove(store.engine, "connect", trace)
        store.outages.seen += 1
