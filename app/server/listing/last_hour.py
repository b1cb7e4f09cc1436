"""The curves of the last hour: what began and ended in each minute, and how long it waited and ran.

A minute that is over is read once and kept as a few numbers. So an answer reads the last two minutes only, however many
executions the hour had; the first one reads the hour.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.store.lists.activity import RunTimes

BUCKET_S = 60
BUCKETS = 60
OPEN_BUCKETS = 2
"""The newest minutes are read anew each time: an end may be committed a moment after its time."""


@dataclass(slots=True)
class Minute:
    started: int = 0
    ended: dict[Phase, int] = field(default_factory=dict)
    wait_p50_s: float | None = None
    wait_p95_s: float | None = None
    run_p50_s: float | None = None


class LastHour:
    """`since(now)` says from when on to read, `take(now, rows)` keeps it, `as_json(now)` shows the hour."""

    def __init__(self) -> None:
        self._minutes: dict[int, Minute] = {}
        self._first_open = 0
        """Minutes from this one on are not complete."""

    def since(self, now: float) -> float:
        """Epoch seconds, by the database's clock like `now`."""
        return max(self._first_open, _minute(now) - BUCKETS + 1) * float(BUCKET_S)

    def take(self, now: float, rows: Iterable[RunTimes]) -> None:
        first, last = _minute(self.since(now)), _minute(now)
        waits: dict[int, list[float]] = {}
        runs: dict[int, list[float]] = {}
        fresh = {n: Minute() for n in range(first, last + 1)}
        for row in rows:
            if row.started_at is not None and (minute := fresh.get(_minute(row.started_at))):
                minute.started += 1
                if row.wait_s is not None:
                    waits.setdefault(_minute(row.started_at), []).append(row.wait_s)
            if row.ended_at is not None and row.phase is not None and (minute := fresh.get(_minute(row.ended_at))):
                minute.ended[row.phase] = minute.ended.get(row.phase, 0) + 1
                if row.started_at is not None:
                    runs.setdefault(_minute(row.ended_at), []).append(max(0.0, row.ended_at - row.started_at))
        for n, minute in fresh.items():
            minute.wait_p50_s, minute.wait_p95_s = rank(waits.get(n, ()), 0.5), rank(waits.get(n, ()), 0.95)
            minute.run_p50_s = rank(runs.get(n, ()), 0.5)
        kept = {n: minute for n, minute in self._minutes.items() if last - BUCKETS < n < first}
        self._minutes = kept | fresh
        self._first_open = last - OPEN_BUCKETS + 1

    def as_json(self, now: float) -> dict[str, Any]:
        last = _minute(now)
        minutes = [self._minutes.get(n) or Minute() for n in range(last - BUCKETS + 1, last + 1)]
        return {
            "bucketSeconds": BUCKET_S,
            "started": [minute.started for minute in minutes],
            "ended": {p.name: [m.ended.get(p, 0) for m in minutes] for p in sorted(TERMINAL_PHASES)},
            "waitP50Seconds": [_rounded(minute.wait_p50_s) for minute in minutes],
            "waitP95Seconds": [_rounded(minute.wait_p95_s) for minute in minutes],
            "runP50Seconds": [_rounded(minute.run_p50_s) for minute in minutes],
        }


def rank(values: Sequence[float], part: float) -> float | None:
    """The least value that at least this part of the values does not exceed (nearest rank)."""
    return sorted(values)[math.ceil(part * len(values)) - 1] if values else None


def _minute(at: float) -> int:
    return int(at // BUCKET_S)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
