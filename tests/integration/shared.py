"""A stack that the tests of a module use one after the other. Each has sessions, executions and files of its own.

A test may do to it whatever leaves it at work: as it was, with one worker and nothing to do. What is not so at the end
of a test, above all of one that failed, is closed, and the next test gets a new one.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.integration.stack import Process, Stack

UNFINISHED = ("PENDING", "IN_PROGRESS")
Workers = Callable[[Stack], Process]


class SharedStacks:
    """One for each broker and settings, opened when a test first wants it and closed at the end of the block."""

    def __init__(self, new_folder: Callable[[], Path], start_worker: Workers, **settings: str) -> None:
        self._new_folder, self._start_worker, self._settings = new_folder, start_worker, settings
        self._open: dict[Path, tuple[Stack, Process, ExitStack]] = {}
        self._folders: dict[tuple[str, frozenset[tuple[str, str]]], Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as all_of_them:
            for _, _, opened in self._open.values():
                all_of_them.push(opened)

    def lent(self, broker: str, **settings: str) -> tuple[Stack, Process]:
        """The stack of this broker and these settings, and its worker."""
        wanted = (broker, frozenset(settings.items()))
        folder = self._folders.get(wanted)
        if folder is None or folder not in self._open:
            folder = self._folders[wanted] = self._new_folder()
            with ExitStack() as opening:
                stack = opening.enter_context(Stack.open(folder, broker, **self._settings, **settings))
                worker = self._start_worker(stack)
                self._open[folder] = stack, worker, opening.pop_all()
        stack, worker, _ = self._open[folder]
        return stack, worker

    def given_back(self, stack: Stack) -> None:
        _, worker, opened = self._open[stack.folder]
        if not _at_rest(stack, worker):
            del self._open[stack.folder]
            opened.close()


def _at_rest(stack: Stack, worker: Process) -> bool:
    if any(process.popen.poll() is not None for process in (stack.redis, stack.server, worker)):
        return False
    try:
        answers = [stack.http.get("/v1/executions", params={"phase": phase}) for phase in UNFINISHED]
        return not any(answer.raise_for_status().json()["total"] for answer in answers)
    except httpx.HTTPError:
        return False
