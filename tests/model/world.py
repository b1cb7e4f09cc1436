"""One database for all examples, its clock, and what was seen in it. Each example has a session of its own."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from agent_runner.status.store.executions import ending
from agent_runner.status.store.executions import worker_writes as running
from agent_runner.status.store.store import Store
from tests.store.table_guard import guard
from tests.support import databases

T = TypeVar("T")
SMALL_TAIL_BYTES = 100
"""Instead of 256 KB and 4 KB, so that snapshots occur."""


class World:
    def __init__(self, url: str) -> None:
        self.now = 1_000_000.0
        self.seen: Counter[tuple[str, str]] = Counter()
        """(verb, verdict of the model): how often."""
        self.loop = asyncio.new_event_loop()
        self.url = url
        self.store = Store.open(url, now=lambda: self.now)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def restart(self) -> None:
        """A server restart: nothing but the database survives."""
        self.run(self.store.close())
        self.store = Store.open(self.url, now=lambda: self.now)

    def close(self) -> None:
        self.run(self.store.close())
        self.loop.close()


@contextmanager
def world(sort: str, folder: Path) -> Iterator[World]:
    """On Postgres, or on SQLite in this folder."""
    kept = running.MIN_TAIL_BYTES, ending.SMALL_TAIL_BYTES
    running.MIN_TAIL_BYTES = ending.SMALL_TAIL_BYTES = SMALL_TAIL_BYTES
    try:
        with databases.migrated(sort, folder, guard) as url:
            made = World(url)
            try:
                yield made
            finally:
                made.close()
    finally:
        running.MIN_TAIL_BYTES, ending.SMALL_TAIL_BYTES = kept
