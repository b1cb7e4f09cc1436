"""What is done about times that have come: most often one, after an outage many."""

from dataclasses import replace

import pytest

from agent_runner.clients.cron.times import ListedTimes, cron_times
from agent_runner.status.schedules.catch_up import MOST_COUNTED, decide, first_after
from agent_runner.status.schedules.schedule import CatchUp, Ended, Rules

HOUR = 3600.0
EVERY_HOUR = cron_times("0 * * * *", "")
BASE = 1_800_000_000.0  # a full hour
RULES = {one: Rules(cron="0 * * * *", catch_up=one, catch_up_limit=3) for one in CatchUp}


@pytest.mark.parametrize("rule", CatchUp)
def test_a_time_that_has_just_come_fires(rule: CatchUp) -> None:
    """By every rule, and the next is the following one."""
    decision = decide(RULES[rule], EVERY_HOUR, due_at=BASE, now=BASE + 2, fired=0)
    assert (decision.fires_for, decision.passed_over, decision.next_at) == (BASE, 0, BASE + HOUR)


def test_skip_passes_over_what_is_late() -> None:
    """All of it, unless the last one came less than the grace ago."""
    now = BASE + 5 * HOUR + 61
    late = decide(RULES[CatchUp.SKIP], EVERY_HOUR, due_at=BASE, now=now, fired=0)
    assert (late.fires_for, late.passed_over, late.latest) == (None, 6, BASE + 5 * HOUR)
    assert late.next_at == BASE + 6 * HOUR
    in_time = decide(RULES[CatchUp.SKIP], EVERY_HOUR, due_at=BASE, now=BASE + 5 * HOUR + 59, fired=0)
    assert (in_time.fires_for, in_time.passed_over) == (BASE + 5 * HOUR, 5)


def test_once_fires_the_last_one() -> None:
    """And says how many it passed over."""
    decision = decide(RULES[CatchUp.ONCE], EVERY_HOUR, due_at=BASE, now=BASE + 5.5 * HOUR, fired=0)
    assert (decision.fires_for, decision.passed_over, decision.next_at) == (BASE + 5 * HOUR, 5, BASE + 6 * HOUR)


def test_all_fires_one_after_the_other_up_to_its_bound() -> None:
    """The last three of six, and then the times to come."""
    now, due_at, passed_over = BASE + 5.5 * HOUR, BASE, 0
    fired: list[float] = []
    while due_at <= now:
        decision = decide(RULES[CatchUp.ALL], EVERY_HOUR, due_at=due_at, now=now, fired=len(fired))
        assert decision.fires_for is not None
        assert decision.next_at is not None
        fired.append(decision.fires_for)
        passed_over += decision.passed_over
        due_at = decision.next_at
    assert fired == [BASE + 3 * HOUR, BASE + 4 * HOUR, BASE + 5 * HOUR]
    assert (passed_over, due_at) == (3, BASE + 6 * HOUR)


@pytest.mark.parametrize("rule", CatchUp)
def test_a_year_of_minutes_is_decided_at_once(rule: CatchUp) -> None:
    """What is not counted is named as the most; the last times are right."""
    every_minute = cron_times("* * * * *", "")
    now = BASE + 365 * 86_400 + 5
    decision = decide(RULES[rule], every_minute, due_at=BASE, now=now, fired=0)
    newest = BASE + 365 * 86_400
    assert decision.fires_for == (newest if rule is not CatchUp.ALL else newest - 120)
    assert decision.passed_over >= MOST_COUNTED - 3
    assert decision.latest == newest


def test_the_end_and_the_number_of_firings_end_it() -> None:
    """A time after the end never fires, also when it is caught up; the last allowed firing is the last."""
    ends = replace(RULES[CatchUp.ONCE], end_at=BASE + 2 * HOUR + 1)
    decision = decide(ends, EVERY_HOUR, due_at=BASE, now=BASE + 9 * HOUR, fired=0)
    assert (decision.fires_for, decision.next_at, decision.ended) == (BASE + 2 * HOUR, None, Ended.END_TIME)
    few = replace(RULES[CatchUp.ONCE], max_firings=2)
    assert decide(few, EVERY_HOUR, due_at=BASE, now=BASE, fired=0).ended is Ended.NOT
    last = decide(few, EVERY_HOUR, due_at=BASE, now=BASE, fired=1)
    assert (last.fires_for, last.next_at, last.ended) == (BASE, None, Ended.FIRINGS)
    listed = decide(Rules(at=(BASE,)), ListedTimes(times=(BASE,)), due_at=BASE, now=BASE, fired=0)
    assert (listed.fires_for, listed.next_at, listed.ended) == (BASE, None, Ended.TIMES)
    assert first_after(ends, EVERY_HOUR, BASE + 2 * HOUR) == (None, Ended.END_TIME)
