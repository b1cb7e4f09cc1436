"""What is done when a time of a schedule has come: which time fires, which are passed over, and which is next.

A pure decision. Most often one time is due and it fires. After an outage there may be many, and the schedule's rule
says what is done about them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent_runner.status.schedules.schedule import CatchUp, Ended, Rules

MOST_COUNTED = 1000
"""More times that were missed are not counted."""
FIRST_LOOK_BACK_S = 3600.0


class Times(Protocol):
    def after(self, at: float) -> float | None:
        """The first time later than `at`; None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    fires_for: float | None
    """None: nothing fires."""
    passed_over: int
    """How many earlier times do not fire; `MOST_COUNTED` means that or more."""
    latest: float
    """The last time that had come."""
    next_at: float | None
    ended: Ended


def first_after(rules: Rules, times: Times, at: float) -> tuple[float | None, Ended]:
    """The next time after `at`, or why there is none."""
    found = times.after(at)
    if found is not None and rules.end_at is not None and found > rules.end_at:
        return None, Ended.END_TIME
    return found, Ended.NOT if found is not None else Ended.TIMES


def decide(rules: Rules, times: Times, *, due_at: float, now: float, fired: int) -> Decision:
    """`due_at`: the schedule's next time, which is not later than `now`. `fired`: its firings until now."""
    until = now if rules.end_at is None else min(now, rules.end_at)
    came = _came(times, due_at, until)
    wanted = came[-rules.catch_up_limit :] if rules.catch_up is CatchUp.ALL else came[-1:]
    fires_for: float | None = wanted[0]
    if rules.catch_up is CatchUp.SKIP and now - wanted[0] > rules.grace_s:
        fires_for, wanted = None, came[-1:]
    next_at, ended = first_after(rules, times, wanted[0])
    passed_over = len(came) - len(wanted) + (fires_for is None)
    if fires_for is not None and rules.max_firings and fired + 1 >= rules.max_firings:
        next_at, ended = None, Ended.FIRINGS
    return Decision(
        fires_for=fires_for, passed_over=min(passed_over, MOST_COUNTED), latest=came[-1], next_at=next_at, ended=ended
    )


def _came(times: Times, due_at: float, until: float) -> Sequence[float]:
    """The times from `due_at` on that have come. If there are too many, the last ones, at least `MOST_COUNTED`."""
    came = _between(times, due_at, until, MOST_COUNTED + 1)
    back_s = FIRST_LOOK_BACK_S
    while len(came) > MOST_COUNTED:
        recent = _between(times, times.after(until - back_s), until, None)
        if len(recent) >= MOST_COUNTED:
            return recent
        back_s *= 2
    return came


def _between(times: Times, first: float | None, until: float, most: int | None) -> list[float]:
    found: list[float] = []
    while first is not None and first <= until and (most is None or len(found) < most):
        found.append(first)
        first = times.after(first)
    return found
