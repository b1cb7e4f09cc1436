"""A stack that the tests of a module use one after the other. Each has sessions, executions and files of its own.

A test may do to it whatever leaves it at work: as it was, with as many workers as it was opened with and nothing to do.
What a test has started beside it is stopped after the test. What is not at work then, above all of a test that failed,
is closed, and the next test gets a new one.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.integration.stack import Process, Stack
from tests.support.waiting import eventually

UNFINISHED = ("PENDING", "IN_PROGRESS")
WORKERS_WITHIN_S = 15.0
"""A killed worker has 3 s to come back before it is known to be gone; its successor starts in less."""
Workers = Callable[[Stack], Process]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    stack: Stack
    own: list[Process]
    online: int
    """Workers that the server knew when it was opened."""
    closing: ExitStack


class SharedStacks:
    """One for each broker and settings, opened when a test first wants it and closed at the end of the block. Without
    `start_worker` there are Redis and a server: a test starts workers of its own."""

    def __init__(self, new_folder: Callable[[], Path], start_worker: Workers | None = None, **settings: str) -> None:
        self._new_folder, self._start_worker, self._settings = new_folder, start_worker, settings
        self._open: dict[Path, _Open] = {}
        self._folders: dict[tuple[str, frozenset[tuple[str, str]]], Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as all_of_them:
            for one in self._open.values():
                all_of_them.push(one.closing)

    @contextmanager
    def lent(self, broker: str = "", **settings: str) -> Iterator[Stack]:
        """The stack of this broker and these settings."""
        wanted = (broker, frozenset(settings.items()))
        folder = self._folders.get(wanted)
        if folder is None or folder not in self._open:
            folder = self._folders[wanted] = self._new_folder()
            self._open[folder] = self._opened(folder, broker, settings)
        yield self._open[folder].stack
        self._given_back(self._open[folder])

    def worker_of(self, stack: Stack) -> Process:
        """The one that it was opened with."""
        return next(process for process in self._open[stack.folder].own if process.name == "worker")

    def _opened(self, folder: Path, broker: str, settings: dict[str, str]) -> _Open:
        with ExitStack() as opening:
            stack = opening.enter_context(Stack.open(folder, broker, **self._settings, **settings))
            if self._start_worker:
                self._start_worker(stack)
            own, online = list(stack.processes), len(stack.workers())
            return _Open(stack=stack, own=own, online=online, closing=opening.pop_all())

    def _given_back(self, one: _Open) -> None:
        stack = one.stack
        own = [stack.redis, stack.server, *(p for p in one.own if p.name not in ("redis", "server"))]
        others = [process for process in stack.processes if process not in own]
        for process in others:
            process.ask_to_stop()
        for process in others:
            process.stop()
        stack.processes[:] = own
        if not _at_rest(one, own):
            del self._open[stack.folder]
            one.closing.close()


def _at_rest(one: _Open, own: list[Process]) -> bool:
    if any(process.popen.poll() is not None for process in own):
        return False
    http = one.stack.http
    try:
        answers = [http.get("/v1/executions", params={"phase": phase}) for phase in UNFINISHED]
        if any(answer.raise_for_status().json()["total"] for answer in answers):
            return False
        return eventually(lambda: len(one.stack.workers()) == one.online, within_s=WORKERS_WITHIN_S)
    except (httpx.HTTPError, AssertionError):
        return False
