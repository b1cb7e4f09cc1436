"""The rate limit: a bucket of tokens per key, in each process."""

import time
from collections.abc import Callable


class RateLimit:
    """Allows `per_s` calls a second. After a quiet second as many may come at once (at least one). 0: no limit."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        """Key: (tokens, when they were counted)."""

    def take(self, key: str) -> float:
        """Takes a token and returns 0. If there is none, returns the seconds until there is one."""
        if not self._per_s:
            return 0.0
        now = self._clock()
        tokens, counted_at = self._buckets.get(key, (self._most, now))
        tokens = min(self._most, tokens + (now - counted_at) * self._per_s)
        taken = tokens >= 1
        self._buckets[key] = (tokens - taken, now)
        return 0.0 if taken else (1 - tokens) / self._per_s
