"""Limits how many calls of a kind one key may have open at this server, so that other keys have room."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.problems import Kind, Problem

RETRY_AFTER_S = 1


class Crowd:
    """Counts the open calls of each key. `what`: the calls in words, plural. `setting`: the setting with the limit.

    The key of the environment counts as one key.
    """

    def __init__(self, most: int, what: str, setting: str) -> None:
        self._most = most
        self._what = what
        self._setting = setting
        self._open: Counter[str] = Counter()

    @property
    def under_way(self) -> int:
        """The number of open calls of all keys."""
        return self._open.total()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts one open call of the caller's key during the block. Raises RESOURCE_EXHAUSTED at the key's limit.

        No other task runs between the check and the count.
        """
        principal = current()
        if self._open[principal.key_id] >= self._most:
            raise Problem(
                Kind.TOO_FAST,
                f"the key '{principal.name}' has {self._most} {self._what} at this server ({self._setting})",
                next_step="Wait until one of them has ended, or end one.",
                retry_after_s=RETRY_AFTER_S,
            )
        key = principal.key_id
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
