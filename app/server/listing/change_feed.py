"""Changes in lists, for those who watch them: rows that are new or changed, at most once a second, and counts.

All who watch the same list (the same filters, by keys of the same org) share one feed, so the number of reads does not
grow with the number of open pages. What changed is heard: from this server at once, from others by their wake-ups.
Because those may be lost, and a new execution has none, the ends of three indexes are looked at every second: what was
created, claimed or ended lately. Nothing is read while nobody watches.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any

from agent_runner.app.server.access.principal import Principal, acting_as, current
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.http.events import PING
from agent_runner.app.server.listing.summary_view import counts_json, row_json
from agent_runner.status.event_logger import event_logger
from agent_runner.status.phases import Phase
from agent_runner.status.store.errors import StoreError
from agent_runner.status.store.lists.queries import ExecutionQuery

log = event_logger(__name__)
EVERY_S = 1.0
LATELY_S = 4.0
"""Each look goes back so far: what was committed late is seen by the next one, and a reader who has just read a page
gets what changed meanwhile."""
QUIET_S = 15.0
KEPT = 30
"""Frames that are kept for readers. One who is further behind has lost some: his stream ends, and he begins again."""
REMEMBERED = 2000
"""A row of these is not told again while it stays the same."""


@dataclass(frozen=True, slots=True)
class Frame:
    number: int
    at: float
    """By `time.monotonic()`."""
    text: str


class Feed:
    """One list that is watched. Made and told what changed by `ChangeFeeds`."""

    def __init__(self, ctx: ServerContext, principal: Principal, query: ExecutionQuery) -> None:
        self._store = ctx.store
        self._principal = principal
        self._query = query
        self._told: dict[str, str] = {}
        self._number = 0
        self.frames: deque[Frame] = deque(maxlen=KEPT)
        self.counts = ""
        self.grown = asyncio.Event()
        self.readers = 0

    async def look(self, ids: Sequence[str]) -> None:
        """Reads what became of these executions, and tells it if it belongs to the list and is new."""
        if not ids and self.counts:
            return
        with acting_as(self._principal):
            rows = await self._store.summaries_of(self._about(ids)) if ids else []
            fresh = [shown for row in rows if self._is_new(shown := row_json(row))]
            if fresh:
                self._tell(_event("rows", {"executions": fresh}))
            if fresh or not self.counts:
                counts = _event("counts", counts_json(await self._store.phase_numbers(self._query)))
                if counts != self.counts:
                    self.counts = counts
                    self._tell(counts)

    def _about(self, ids: Sequence[str]) -> ExecutionQuery:
        return replace(self._query, more=replace(self._query.more, ids=ids))

    def after(self, number: int) -> list[Frame] | None:
        """The frames after this one; None if some of them are no longer kept."""
        if self.frames and self.frames[0].number > number + 1:
            return None
        return [frame for frame in self.frames if frame.number > number]

    def begins_at(self) -> int:
        """The number before the first frame of a new reader, who may have read his page a moment ago."""
        since = time.monotonic() - LATELY_S
        early = [frame.number for frame in self.frames if frame.at < since]
        return early[-1] if early else max(0, self._number - len(self.frames))

    def _is_new(self, shown: dict[str, Any]) -> bool:
        text = _written(shown)
        if self._told.pop(shown["id"], None) == text:
            self._told[shown["id"]] = text
            return False
        self._told[shown["id"]] = text
        while len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        return True

    def _tell(self, text: str) -> None:
        self._number += 1
        self.frames.append(Frame(self._number, time.monotonic(), text))
        self.wake()

    def wake(self) -> None:
        self.grown.set()
        self.grown = asyncio.Event()


class ChangeFeeds:
    """The lists that are watched at this server. `ctx.store` shows each caller what he may see; `looking` is the
    server's own, which says only which executions changed."""

    def __init__(self, ctx: ServerContext, looking: ServerContext) -> None:
        self._ctx = ctx
        self._looking = looking
        self._feeds: dict[Any, Feed] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._feeds)

    async def stream(self, query: ExecutionQuery) -> AsyncGenerator[str, None]:
        """The text for one reader. Ends when he has fallen behind, and when his key is revoked."""
        with self._watched(query) as feed:
            yield PING  # the head of the answer is on its way before anything changes
            number = feed.begins_at()
            if feed.counts:
                yield feed.counts
            while True:
                grown = feed.grown
                await self._ctx.gate.keys.confirm()
                frames = feed.after(number)
                if frames is None:
                    return
                for frame in frames:
                    number = frame.number
                    yield frame.text
                if frames:
                    continue
                if self._task is None or self._task.done():
                    return
                try:
                    async with asyncio.timeout(QUIET_S):
                        await grown.wait()
                except TimeoutError:
                    yield PING

    @contextmanager
    def _watched(self, query: ExecutionQuery) -> Iterator[Feed]:
        principal = current()
        key = (principal.org, _key_of(query))
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(self._ctx, replace(principal, key_id=""), query)
        feed.readers += 1
        if self._task is None or self._task.done():
            # In an empty context: the task works for all readers.
            self._task = asyncio.create_task(self._look(), name="changes of lists", context=Context())
        try:
            yield feed
        finally:
            feed.readers -= 1
            if not feed.readers and self._feeds.get(key) is feed:
                del self._feeds[key]

    async def _look(self) -> None:
        """Ends soon after the last reader has left, or with an error that is none of the database's."""
        before: set[tuple[str, Phase]] = set()
        try:
            with self._looking.wakeups.hear() as heard:
                while self._feeds:
                    began = time.monotonic()
                    try:
                        lately = set(await self._looking.store.changed_lately(LATELY_S))
                        ids = sorted({*heard.take(), *(id for id, _ in lately - before)}, reverse=True)
                        for feed in list(self._feeds.values()):
                            await feed.look(ids)
                        before = lately
                    except StoreError as error:
                        log.debug("changes.not_read", error=error)
                    await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
        except Exception:
            log.exception("changes.failed")
        finally:
            for feed in self._feeds.values():
                feed.wake()


def _key_of(query: ExecutionQuery) -> str:
    return repr(query)


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {_written(data)}\n\n"


def _written(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
