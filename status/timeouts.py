"""The timeouts, as data: what starts each clock, what stops it, which failure it means.

All values are seconds. Deadlines are columns of the execution's row and are compared with the database's clock only;
a worker gets remaining seconds, never a time of day.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum

from agent_runner.status.failures import Code


class TimeoutType(Enum):
    """The value is the column that holds the deadline, without its prefix `due_`."""

    THREAD_WAIT = "thread_wait"
    SCHEDULE_TO_START = "schedule_to_start"
    ENSURE_THREAD = "ensure_thread"
    HEARTBEAT = "heartbeat"
    WORKER_LOST = "worker_lost"
    START_TO_CLOSE = "start_to_close"
    SCHEDULE_TO_CLOSE = "schedule_to_close"
    CANCEL = "cancel"

    @property
    def column(self) -> str:
        return f"due_{self.value}"


TIMEOUT_CODES = {
    TimeoutType.THREAD_WAIT: Code.THREAD_BUSY,
    TimeoutType.SCHEDULE_TO_START: Code.SCHEDULE_TO_START,
    TimeoutType.ENSURE_THREAD: Code.HEARTBEAT,
    TimeoutType.HEARTBEAT: Code.HEARTBEAT,
    TimeoutType.WORKER_LOST: Code.WORKER_LOST,
    TimeoutType.START_TO_CLOSE: Code.START_TO_CLOSE,
    TimeoutType.SCHEDULE_TO_CLOSE: Code.SCHEDULE_TO_CLOSE,
    TimeoutType.CANCEL: Code.CANCELLED,
}

ENSURE_THREAD_TIMEOUT_S = 30.0
ENSURE_THREAD_ATTEMPTS = 3
ENSURE_THREAD_BACKOFF_S = 5.0
ENSURE_THREAD_BACKOFF_FACTOR = 2.0
RESEND_UNSTAMPED_S = 10.0
"""A row without `dispatched_at` this long after it became dispatchable is published again."""
SETTLE_BACKSTOP_SOFT_S, SETTLE_BACKSTOP_HARD_S = 5.0, 10.0
"""Celery's own limits on prefork: this long after the run's own limit."""

SILENT_PROCESS_LEAST_S = 10.0


def silent_process_s(timeout_s: float) -> float:
    """How long a worker process may show no sign of life before its supervisor ends it: for the heartbeat timeout of
    its runs, which has ended them by then, and a third of it more, but 10 s at least."""
    return timeout_s + max(timeout_s / 3, SILENT_PROCESS_LEAST_S)


def ensure_thread_total_s(
    timeout_s: float = ENSURE_THREAD_TIMEOUT_S, backoff_s: float = ENSURE_THREAD_BACKOFF_S
) -> float:
    """The longest that EnsureThread can take: its attempts and the pauses between them (30*3 + 5 + 10 = 105)."""
    pauses = (backoff_s * ENSURE_THREAD_BACKOFF_FACTOR**n for n in range(ENSURE_THREAD_ATTEMPTS - 1))
    return timeout_s * ENSURE_THREAD_ATTEMPTS + sum(pauses)


LEAST_S = 0.001
"""The least timeout. No clock here is finer, and a database cannot compute with a number that is nearly 0."""


class TimeoutsError(ValueError):
    """The timeouts contradict each other; the text lists every rule that is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The seconds one execution runs under. Field names are those of the HTTP short form."""

    schedule_to_start_s: float = 60.0
    busy_to_start_s: float = 0.0
    """How long it may wait while workers of its queue are at work; 0: no longer than `schedule_to_start_s`, which is
    the limit where no worker is. Never less than that."""
    heartbeat_s: float = 30.0
    start_to_close_s: float = 600.0
    schedule_to_close_s: float = 900.0
    thread_wait_s: float = 3600.0
    cancel_s: float = 10.0
    settle_grace_s: float = 5.0
    worker_lost_grace_s: float = 3.0
    ensure_thread_s: float = ensure_thread_total_s()

    def problems(self, *, max_run_s: float = 3600.0) -> list[str]:
        """Every rule these values break, in words; empty when they agree with each other."""
        given = [f.name for f in fields(self) if f.name != "busy_to_start_s" or self.busy_to_start_s]
        found = [f"{name} must be at least {LEAST_S:g}" for name in given if getattr(self, name) < LEAST_S]
        if not self.heartbeat_s < self.start_to_close_s:
            found.append("heartbeat_s must be below start_to_close_s")
        if self.start_to_close_s > max_run_s:
            found.append(f"start_to_close_s must be at most {max_run_s:g} (AGENT_RUNNER_MAX_RUN_S)")
        if not self.schedule_to_close_s > (least := self._least()):
            waits = "busy_to_start_s" if self.start_within_s > self.schedule_to_start_s else "schedule_to_start_s"
            found.append(
                f"schedule_to_close_s must be above {least:g} (2 x {waits} + {self.ensure_thread_s:g} for"
                " EnsureThread + start_to_close_s + settle_grace_s), or it would cut a run that is within its limits"
            )
        return found

    def overridden(self, given: dict[str, float], *, max_run_s: float = 3600.0) -> "Timeouts":
        """A copy with `given`, at most the timeouts of a caller. Raises `TimeoutsError` with every broken rule.

        If another one than schedule-to-close is given alone, schedule-to-close changes with it and stays above it.
        """
        unknown = sorted(set(given) - CALLER_TIMEOUTS)
        if unknown:
            raise TimeoutsError(
                f"unknown timeouts {', '.join(unknown)}; known are {', '.join(sorted(CALLER_TIMEOUTS))}"
            )
        if given.get("busy_to_start_s", LEAST_S) < LEAST_S:
            raise TimeoutsError(f"busy_to_start_s must be at least {LEAST_S:g}")
        longest = {
            "schedule_to_start_s": max_run_s,
            "busy_to_start_s": max_run_s,
            "schedule_to_close_s": 4 * max_run_s + self.ensure_thread_s,
        }
        if above := [name for name in sorted(given) if given[name] > longest.get(name, math.inf)]:
            # L1: every execution ends. A deadline that is years away does not ensure that.
            said = [f"{name} must be at most {longest[name]:g} (from AGENT_RUNNER_MAX_RUN_S)" for name in above]
            raise TimeoutsError("; ".join(said))
        result = replace(self, **given)
        if "heartbeat_s" not in given and result.heartbeat_s >= result.start_to_close_s:
            result = replace(result, heartbeat_s=result.start_to_close_s / 2)
        if "schedule_to_close_s" not in given and result._least() != self._least():
            spare = self.schedule_to_close_s - self._least()
            result = replace(result, schedule_to_close_s=result._least() + max(spare, 1.0))
        if problems := result.problems(max_run_s=max_run_s):
            raise TimeoutsError("; ".join(problems))
        return result

    def _least(self) -> float:
        return 2 * self.start_within_s + self.ensure_thread_s + self.start_to_close_s + self.settle_grace_s

    @property
    def start_within_s(self) -> float:
        """The longest that a step may wait for a worker."""
        return max(self.schedule_to_start_s, self.busy_to_start_s)

    @property
    def beat_every_s(self) -> float:
        """How often a worker beats: a third of the heartbeat timeout."""
        return self.heartbeat_s / 3

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


CALLER_TIMEOUTS = frozenset(
    {"schedule_to_start_s", "busy_to_start_s", "heartbeat_s", "start_to_close_s", "schedule_to_close_s"}
)
