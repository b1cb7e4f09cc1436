"""Short verbs on SQLite run where they are called: on the event loop, with a connection of its own, without any hop.

The driver gives Python's lock up at each step of a statement. On a thread beside a busy loop each of them costs two
changes of thread, more than the statement itself, and a wait for the lock.

The loop must not wait, so a verb that would is handed to a thread instead, before it has changed anything: if a thread
of this store writes at this moment, if another process does, or if the verb itself finds that it has much to do
(`Connection.may_last`). Whoever commits here leaves the checkpoint of SQLite's log, which waits for the disk, to the
writer's thread.
"""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from agent_runner.status.store.driver.thread_pool import Tell
from agent_runner.status.store.driver.transaction import Connection, NeedsThread, Session

T = TypeVar("T")
PRAGMAS = ("PRAGMA busy_timeout=0", "PRAGMA wal_autocheckpoint=0")


class InPlace:
    """The connection of one event loop, that of the first caller."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._thread = 0
        self._closed = False
        self._writing = threading.Lock()
        """Who writes: this one, or the writer's thread."""

    def alone(self, work: Callable[[Session], T]) -> Callable[[Session], T]:
        """The work of the writer's thread; meanwhile nobody writes here."""

        def works(session: Session) -> T:
            with self._writing:
                return work(session)

        return works

    def free(self, *, writes: bool) -> bool:
        """Whether a verb may be tried here. It may still turn out to need a thread."""
        mine = self._thread in (0, threading.get_ident())
        return mine and not self._closed and not (writes and self._writing.locked())

    def run(self, begin: str, work: Callable[[Connection], T], *, writes: bool) -> tuple[T, Sequence[Tell]] | None:
        """As `Session.transact`. None: nothing was done, it needs a thread."""
        if not self.free(writes=writes) or (writes and not self._writing.acquire(blocking=False)):
            return None
        self._thread = threading.get_ident()
        try:
            return self._session.transact(begin, work)
        except NeedsThread:
            return None
        finally:
            if writes:
                self._writing.release()

    def close(self) -> None:
        self._closed = True
        if self._thread == threading.get_ident():
            self._session.close()
