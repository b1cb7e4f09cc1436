"""Watches logs: one watcher per execution and server, shared by all who follow that execution here.

What this server appends goes to the watcher from memory, once it is durable. Rows that others appended are read from
the store: when the watcher is woken, and when nothing came for a second, in case a wake-up was lost. It keeps the
newest rows for its readers. Each reader takes rows at its own pace and delays nobody. A reader that falls behind the
kept rows reads the missing rows from the store. So the number of reads does not grow with the number of readers, and
the memory does not grow with the slowest reader.
"""

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import replace
from types import TracebackType
from typing import Any

from agent_runner.app.server.contract.ids import new_execution_id
from agent_runner.app.server.log_feed.log_ends import end_row
from agent_runner.app.server.log_feed.shared_pages import SharedPage
from agent_runner.app.server.log_feed.wakeups import Wakeups
from agent_runner.app.server.problems import not_found
from agent_runner.status.log.bounds import MAX_PAGE_BYTES
from agent_runner.status.log.log import LogRow
from agent_runner.status.log.purges import EDITS, purged
from agent_runner.status.store.paging import fitting
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import NewRows
from agent_runner.status.store.store import Store

PAGE_ROWS = 500
LOOK_EVERY_S = 1.0
EXISTS_EVERY_S = 15.0
"""After this long without a row we look whether the execution still exists."""
KEPT_ROWS, KEPT_BYTES = 1000, 256 * 1024
"""The rows and bytes that are kept for readers besides the newest page."""
NOTHING = SharedPage()


class Watcher:
    """The newest rows of one execution's log. Made by `Watchers`; reads nothing before `start`."""

    def __init__(self, store: Store, wakeups: Wakeups, execution_id: str) -> None:
        self._store = store
        self._wakeups = wakeups
        self._id = execution_id
        self.readers = 0
        self._rows: list[LogRow] = []
        self._bytes = 0
        self._pages: dict[int, SharedPage] = {}
        """The pages that readers were given since the rows changed, by the number of the row before each."""
        self._behind = 0
        """Every row that was read and has a higher `seq` is in `_rows`."""
        self._newest = 0
        self._ended = self._stopped = False
        self._woken: asyncio.Event | None = None
        self._news = asyncio.Event()
        self._told_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._failure: tuple[Exception, TracebackType | None] | None = None
        self._facts: asyncio.Task[Execution | None] | None = None
        self._facts_seq = 0

    @property
    def failed(self) -> bool:
        return self._failure is not None

    def start(self, newest: int, *, look: bool = True) -> None:
        """Read the rows after `newest`, the last row that the caller knows of. Only the first call counts. `look`
        False: nothing is stored after it yet, so the first look is that of a wake-up or of the next second."""
        if self._task is None:
            self._behind = self._newest = newest
            # In an empty context: the task works for all readers.
            self._task = asyncio.create_task(self._watch(look), name=f"watcher of {self._id}", context=Context())

    @property
    def newest(self) -> int:
        """The last row that its readers can get from it; 0 before `start`."""
        return self._newest if self._failure is None else 0

    def born(self, rows: NewRows) -> None:
        """Rows that this server has just stored. If others came in between, all of them are read from the store."""
        if self._task is None or rows.before != self._newest or self._ended or self._stopped or self.failed:
            return
        self._keep(
            [
                LogRow(
                    seq=seq,
                    at=rows.at,
                    fence=fence,
                    kind=one.kind,
                    payload=json.loads(one.payload) if one.value is None else one.value,
                    text=one.payload,
                )
                for seq, (fence, one) in enumerate(rows.told, rows.before + 1)
            ]
        )
        self._tell()
        if end_row(self._rows[-1]) is not None and self._woken is not None:
            self._woken.set()

    def stop(self) -> list["asyncio.Task[Any]"]:
        """Returns the tasks that now end, after their current read. A cancel would cost the pool its connection."""
        self._stopped = True
        if self._woken is not None:
            self._woken.set()
        return [task for task in (self._task, self._facts) if task is not None and not task.done()]

    def rows_after(self, seq: int) -> SharedPage | None:
        """The next rows, at most a page; empty when there are no newer ones; None when they are not kept (any more).

        Readers at the same row get the same object.
        """
        if self._task is None or seq < self._behind:
            return None
        if seq >= self._newest:
            return NOTHING
        page = self._pages.get(seq)
        if page is None:
            first = bisect_right(self._rows, seq, key=_seq)
            rows = self._rows[first : first + PAGE_ROWS]
            page = SharedPage(rows[: fitting(map(_bytes, rows), MAX_PAGE_BYTES)])
            self._pages[seq] = page
        return page

    def news(self) -> Awaitable[object]:
        """Wait for it: until there may be newer rows. Raises the watcher's failure.

        Call it right after `rows_after` had nothing, without an `await` in between: then no row is missed.
        """
        if self._failure is not None:
            error, trace = self._failure
            raise error.with_traceback(trace)
        return self._news.wait()

    async def facts(self, seq: int) -> Execution:
        """The execution, not older than row `seq` of its log. Readers that ask for the same row share one read."""
        if self._facts is None or self._facts_seq < seq:
            self._facts_seq = max(seq, self._newest)
            self._facts = asyncio.create_task(self._store.get(self._id), context=Context())
        asked = self._facts
        try:
            # The end of one reader must not cancel it for the others.
            found = await asyncio.shield(asked)
        except Exception:
            if self._facts is asked:
                self._facts = None
            raise
        if found is None:
            raise not_found("AgentExecution", self._id)
        return found

    async def _watch(self, look: bool) -> None:
        try:
            with self._wakeups.subscribe(self._id) as woken:
                self._woken = woken
                since = time.monotonic()
                while not (self._ended or self._stopped):
                    rows = await self._read() if look else []
                    look = True
                    if rows:
                        if new := [row for row in rows if row.seq > self._newest]:  # some may be `born` meanwhile
                            self._keep(new)
                        since = time.monotonic()
                    elif time.monotonic() - since >= EXISTS_EVERY_S:
                        if await self._store.get(self._id) is None:
                            raise not_found("AgentExecution", self._id)
                        since = time.monotonic()
                    self._tell()
                    # A page that is nearly full may have been cut at its limit of bytes: there may be more rows.
                    whole = len(rows) < PAGE_ROWS and sum(map(_bytes, rows)) < MAX_PAGE_BYTES // 2
                    if whole and not (self._ended or self._stopped):
                        await self._wait(woken)
        except Exception as error:
            self._failure = error, error.__traceback__
            self._tell()

    async def _read(self) -> Sequence[LogRow]:
        return await self._store.read_log(self._id, self._newest, PAGE_ROWS, max_bytes=MAX_PAGE_BYTES)

    async def _wait(self, woken: asyncio.Event) -> None:
        """Until a wake-up, or until the readers were told nothing for a second: rows that are born need no look."""
        while not woken.is_set() and (rest_s := self._told_at + LOOK_EVERY_S - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await woken.wait()
        woken.clear()

    def _keep(self, page: Sequence[LogRow]) -> None:
        """Removes old rows before the page is added, so that a reader that keeps up finds the whole page."""
        self._pages.clear()
        dropped = 0
        while dropped < len(self._rows) and (len(self._rows) - dropped > KEPT_ROWS or self._bytes > KEPT_BYTES):
            self._behind = self._rows[dropped].seq
            self._bytes -= _bytes(self._rows[dropped])
            dropped += 1
        del self._rows[:dropped]
        for edit in (row for row in page if row.kind in EDITS):
            self._purge(edit)
        self._rows.extend(page)
        self._bytes += sum(map(_bytes, page))
        self._newest = page[-1].seq
        self._ended = end_row(page[-1]) is not None

    def _purge(self, edit: LogRow) -> None:
        """Removes the text that this row took away from the kept rows. The store has removed it already."""
        for index, row in enumerate(self._rows):
            if blank := purged(row.kind, row.payload, edit.kind, edit.payload):
                self._rows[index] = replace(row, payload=blank, text="")
                self._bytes += _bytes(self._rows[index]) - _bytes(row)

    def _tell(self) -> None:
        """Wakes all that wait now. Later ones wait for the next time."""
        self._told_at = time.monotonic()
        self._news.set()
        self._news = asyncio.Event()


class Watchers:
    """The watchers of one server. `store` has no rules of orgs: the first read has checked what the reader may see."""

    def __init__(self, store: Store, wakeups: Wakeups) -> None:
        self._store = store
        self._wakeups = wakeups
        self._watching: dict[str, Watcher] = {}
        self._ending: set[asyncio.Task[Any]] = set()

    def born(self, rows: NewRows) -> None:
        """Rows that this server has just stored, for those who follow the execution here."""
        if (watcher := self._watching.get(rows.execution_id)) is not None:
            watcher.born(rows)

    def have(self, execution_id: str, seq: int) -> bool:
        """Whether everybody who follows the execution here can get this row without another look at the store."""
        watcher = self._watching.get(execution_id)
        return watcher is not None and watcher.newest >= seq

    @contextmanager
    def watch(self, execution_id: str) -> Iterator[Watcher]:
        """The execution's watcher. It lives as long as one of its readers is in this block."""
        watcher = self._watching.get(execution_id)
        if watcher is None or watcher.failed:
            watcher = self._watching[execution_id] = Watcher(self._store, self._wakeups, execution_id)
        watcher.readers += 1
        try:
            yield watcher
        finally:
            watcher.readers -= 1
            if not watcher.readers:
                self._end(watcher)
                if self._watching.get(execution_id) is watcher:
                    del self._watching[execution_id]

    @contextmanager
    def watch_new(self) -> Iterator[str]:
        """The id for an execution that the caller is about to create and to follow. It is watched from now on: its
        rows come from memory, the first ones too."""
        id = new_execution_id()
        with self.watch(id) as watcher:
            watcher.start(0, look=False)
            yield id

    async def stop(self) -> None:
        """Ends all watchers. Call it before the store is closed."""
        for watcher in self._watching.values():
            self._end(watcher)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end(self, watcher: Watcher) -> None:
        for task in watcher.stop():
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def __len__(self) -> int:
        return len(self._watching)


def _seq(row: LogRow) -> int:
    return row.seq


def _bytes(row: LogRow) -> int:
    """Those of its payload, about."""
    return len(row.text) or _weight(row.payload)


def _weight(payload: Any) -> int:
    """The bytes of text in a payload, about."""
    match payload:
        case str():
            return len(payload)
        case dict():
            return sum(len(name) + _weight(value) for name, value in payload.items())
        case list():
            return sum(map(_weight, payload))
    return 8
