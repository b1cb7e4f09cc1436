"""How many of a kind one key may have open at this server at a time, so that there is room for the others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.problems import Kind, Problem

RETRY_AFTER_S = 1


class Crowd:
    """`what` in words, plural; `setting` holds the number. The key of the environment is one key."""

    def __init__(self, most: int, what: str, setting: str) -> None:
        self._most = most
        self._what = what
        self._setting = setting
        self._open: Counter[str] = Counter()

    @property
    def under_way(self) -> int:
        """Of all keys."""
        return self._open.total()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for one more, as long as the block lasts. Raises RESOURCE_EXHAUSTED when the caller has as many open
        as a key may; between that look and the place nobody comes in."""
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
