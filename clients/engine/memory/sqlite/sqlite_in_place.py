"""Short work on a SQLite file is done where it is called: on the event loop, over a connection of its own.

A hop to the thread of a connection wakes two threads and makes a future, a task and several turns of the loop. For a
checkpoint of a few kilobytes that is more than the work itself (decision 0030).

The loop must not wait. So whatever would wait, or take long, goes to the thread instead, before anything has changed:
when another process or the thread writes at this moment, when there is much to write, and once in a while, so that the
thread copies SQLite's log into the file, which waits for the disk.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from agent_runner.clients.engine.memory.database_errors import is_busy

T = TypeVar("T")

MOST_BYTES = 256 << 10
"""What one write here may have: about half a millisecond."""
LOG_BYTES = 16 << 20
"""After so much was written here the thread writes once, and copies SQLite's log into the file at its commit."""
PAGES_BYTES = 16 << 10
"""What a transaction writes into the log beside its content: the pages around it, of tables, indexes and free pages."""
_PRAGMAS = ("busy_timeout=0", "wal_autocheckpoint=0", "synchronous=NORMAL")


class InPlace:
    """Belongs to the thread that makes it, which is the event loop's. `path`: of a file in WAL mode."""

    def __init__(self, path: str) -> None:
        self._thread = threading.get_ident()
        self._connection: sqlite3.Connection | None = sqlite3.connect(path, timeout=0, isolation_level=None)
        for pragma in _PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}").close()
        self._elsewhere = 0
        self._written_bytes = 0

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """While the thread has a write to do, everything goes there: what was asked for first is done first."""
        self._elsewhere += 1
        try:
            yield
        finally:
            self._elsewhere -= 1

    def read(self, work: Callable[[sqlite3.Connection], T]) -> tuple[T] | None:
        """What `work` returns, which may only read. None: it has to be done on the thread."""
        connection = self._free()
        if connection is None:
            return None
        try:
            return (work(connection),)
        except sqlite3.OperationalError as error:  # another process brings the file into order
            if is_busy(error):
                return None
            raise

    def write(self, work: Callable[[sqlite3.Connection], T], size: int) -> tuple[T] | None:
        """`work` as one transaction of about `size` bytes. None: nothing was done, it has to be done on the thread."""
        connection = self._free()
        if connection is None or size > MOST_BYTES:
            return None
        if self._written_bytes > LOG_BYTES:
            self._written_bytes = 0
            return None
        try:
            connection.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return None
            raise
        try:
            done = work(connection)
            connection.execute("COMMIT").close()
        except BaseException:
            connection.rollback()
            raise
        self._written_bytes += size + PAGES_BYTES
        return (done,)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _free(self) -> sqlite3.Connection | None:
        return None if self._elsewhere or threading.get_ident() != self._thread else self._connection
