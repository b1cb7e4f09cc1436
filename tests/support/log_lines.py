"""The lines that the product's own formatter makes of what is logged."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agent_runner.clients.process.logs import formatter


class _Kept(logging.Handler):
    def __init__(self, log_format: str, take: Callable[[str], None]) -> None:
        super().__init__()
        self.setFormatter(formatter(log_format))
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(self.format(record))


@contextmanager
def _kept(handler: logging.Handler, logger: str, level: str) -> Iterator[None]:
    named = logging.getLogger(logger or None)
    before = named.level
    named.addHandler(handler)
    named.setLevel(level)
    try:
        yield
    finally:
        named.removeHandler(handler)
        named.setLevel(before)


@contextmanager
def kept_lines(log_format: str, *, logger: str = "", level: str = "INFO") -> Iterator[list[str]]:
    """Each record that `logger` gets, as a line of "text" or "json"; the list grows meanwhile."""
    lines: list[str] = []
    with _kept(_Kept(log_format, lines.append), logger, level):
        yield lines


@contextmanager
def kept_objects(*, logger: str = "", level: str = "INFO") -> Iterator[list[dict[str, Any]]]:
    """The same, as the objects of the JSON lines."""
    objects: list[dict[str, Any]] = []
    with _kept(_Kept("json", lambda line: objects.append(json.loads(line))), logger, level):
        yield objects
