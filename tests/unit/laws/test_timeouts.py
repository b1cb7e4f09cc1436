"""The timeouts as data: each has its code, its column and its words; the rules between them hold for any values."""

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from agent_runner.status.failures import FAILURES, Code, describe
from agent_runner.status.store.schema import executions
from agent_runner.status.timeouts import CALLER_TIMEOUTS, LEAST_S, TIMEOUT_CODES, Timeouts, TimeoutsError, TimeoutType

NAMES = [f.name for f in fields(Timeouts)]
seconds = st.one_of(
    st.floats(-10, 4000), st.sampled_from([0.0, LEAST_S / 2, LEAST_S, 1.0, 30.0, 60.0, 600.0, 900.0, 3600.0])
)
any_timeouts = st.builds(Timeouts, **dict.fromkeys(NAMES, seconds))
a_limit = st.floats(1, 7200)


@st.composite
def sound(draw: st.DrawFn) -> Timeouts:
    """Timeouts that agree with each other for a longest run of 3600 s."""
    parts = {name: draw(st.floats(0.5, 3000)) for name in NAMES}
    run = parts["start_to_close_s"]
    found = Timeouts(**(parts | {"heartbeat_s": run * draw(st.floats(0.1, 0.9))}))
    return replace(found, schedule_to_close_s=least(found) + draw(st.floats(0.1, 500)))


def least(t: Timeouts) -> float:
    """What schedule-to-close must exceed, from the design."""
    return 2 * max(t.schedule_to_start_s, t.busy_to_start_s) + t.ensure_thread_s + t.start_to_close_s + t.settle_grace_s


def agree(t: Timeouts, max_run_s: float) -> bool:
    """The rules of the design, a second time."""
    unset = {"busy_to_start_s"} if t.busy_to_start_s == 0 else set()
    large_enough = all(getattr(t, name) >= LEAST_S for name in NAMES if name not in unset)
    return large_enough and t.heartbeat_s < t.start_to_close_s <= max_run_s and t.schedule_to_close_s > least(t)


@pytest.mark.parametrize("timeout", TimeoutType)
def test_each_timeout_has_its_code_its_column_and_its_words(timeout: TimeoutType) -> None:
    """What passes can be stored, found by the sweep, and told to a person."""
    code = TIMEOUT_CODES[timeout]
    assert timeout.column in executions.c
    assert not executions.c[timeout.column].nullable
    failure = describe(code, {})
    assert code in FAILURES
    assert "sweeper" in FAILURES[code].detection or code in (Code.WORKER_LOST, Code.CANCELLED)
    assert "{" not in failure.error + failure.next_step
    assert failure.error.endswith(f"[{code.value} {code.name}]")


def test_the_next_deadline_is_the_least_of_all() -> None:
    """No column `due_*` is without its timeout, and none is left out of the one that is indexed."""
    columns = {t.column for t in TimeoutType}
    assert {c.name for c in executions.c if c.name.startswith("due_")} == columns
    computed = executions.c.next_deadline.computed
    assert computed is not None
    said = str(computed.sqltext.compile(dialect=sqlite.dialect()))
    assert {column for column in columns if f"{column}," in f"{said[:-1]},"} == columns


@given(any_timeouts, a_limit)
def test_problems_are_found_exactly_where_the_rules_are_broken(timeouts: Timeouts, max_run_s: float) -> None:
    """No problem means that all rules hold, and the other way round."""
    assert (timeouts.problems(max_run_s=max_run_s) == []) == agree(timeouts, max_run_s)


@given(sound())
def test_the_total_must_exceed_its_parts(timeouts: Timeouts) -> None:
    """Two schedule-to-starts, EnsureThread, the run and its grace: exactly their sum is not enough, a bit more is."""
    assert timeouts.problems() == []
    cut = replace(timeouts, schedule_to_close_s=least(timeouts))
    assert [text.split()[0] for text in cut.problems()] == ["schedule_to_close_s"]


@given(sound())
def test_a_heartbeat_is_shorter_than_its_run_and_a_run_than_the_longest(timeouts: Timeouts) -> None:
    """Equal is not shorter; the longest run itself is allowed."""
    run = timeouts.start_to_close_s
    silent = replace(timeouts, heartbeat_s=run)
    assert silent.problems() == ["heartbeat_s must be below start_to_close_s"]
    assert timeouts.problems(max_run_s=run) == []
    assert [text.split()[0] for text in timeouts.problems(max_run_s=run * 0.99)] == ["start_to_close_s"]


@given(any_timeouts)
def test_every_value_that_is_not_positive_is_named(timeouts: Timeouts) -> None:
    """All of them at once, so that nobody mends one after the other."""
    said = timeouts.problems()
    for name in NAMES:
        unset = name == "busy_to_start_s" and timeouts.busy_to_start_s == 0
        assert (f"{name} must be at least 0.001" in said) == (getattr(timeouts, name) < 0.001 and not unset)


@given(any_timeouts, st.floats(0, 5000))
def test_more_total_time_never_adds_a_problem(timeouts: Timeouts, more: float) -> None:
    """Whoever raises schedule-to-close as the text says gets rid of that problem and into no other."""
    raised = replace(timeouts, schedule_to_close_s=timeouts.schedule_to_close_s + more)
    assert set(raised.problems()) <= set(timeouts.problems())
    mended = replace(timeouts, schedule_to_close_s=max(least(timeouts), 0) + 1)
    assert not [text for text in mended.problems() if text.startswith("schedule_to_close_s")]


@given(st.dictionaries(st.sampled_from(sorted(CALLER_TIMEOUTS)), seconds), sound(), a_limit)
def test_what_a_caller_gives_is_kept_or_refused(wanted: dict[str, float], base: Timeouts, max_run_s: float) -> None:
    """Either the rules hold afterwards with exactly the given values and the rest untouched, or it is refused."""
    assert agree(base, 3600)
    try:
        result = base.overridden(wanted, max_run_s=max_run_s)
    except TimeoutsError:
        return
    assert agree(result, max_run_s)
    assert {name: getattr(result, name) for name in wanted} == wanted
    kept = set(NAMES) - wanted.keys() - {"heartbeat_s", "schedule_to_close_s"}
    assert all(getattr(result, name) == getattr(base, name) for name in kept)


@given(st.floats(1, 3600), st.floats(1, 3600))
def test_raising_a_part_raises_the_whole(start: float, run: float) -> None:
    """Any positive schedule-to-start and start-to-close are accepted alone: the others follow."""
    result = Timeouts().overridden({"schedule_to_start_s": start, "start_to_close_s": run})
    assert agree(result, 3600)


@pytest.mark.parametrize("name", sorted(set(NAMES) - CALLER_TIMEOUTS))
def test_the_rest_is_not_for_callers(name: str) -> None:
    """Graces and the thread's wait are settings of the operator; the text lists what a caller may set."""
    with pytest.raises(TimeoutsError, match=f"unknown timeouts {name}.*heartbeat_s"):
        Timeouts().overridden({name: 1.0})


def test_a_caller_gives_a_real_limit_for_busy_workers() -> None:
    """0 is the operator's word for none; below schedule-to-start it changes nothing."""
    with pytest.raises(TimeoutsError, match=r"busy_to_start_s must be at least 0\.001"):
        Timeouts().overridden({"busy_to_start_s": 0.0})
    assert Timeouts().overridden({"busy_to_start_s": 5.0}).start_within_s == Timeouts().schedule_to_start_s


def test_the_defaults_agree() -> None:
    """Nobody has to set anything."""
    assert Timeouts().problems() == []
    assert Timeouts().overridden({}) == Timeouts()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"schedule_to_start_s": 101.0}, "schedule_to_start_s must be at most 100"),
        ({"busy_to_start_s": 101.0}, "busy_to_start_s must be at most 100"),
        ({"schedule_to_close_s": 506.0}, "schedule_to_close_s must be at most 505"),
        ({"schedule_to_close_s": math.inf}, "schedule_to_close_s must be at most 505"),
        ({"start_to_close_s": 101.0}, "start_to_close_s must be at most 100"),
    ],
)
def test_a_caller_cannot_put_the_end_off_for_years(given: dict[str, float], named: str) -> None:
    """L1: each has a maximum that follows from the longest run; one second above it is refused by name."""
    base = Timeouts(schedule_to_start_s=10, heartbeat_s=5, start_to_close_s=100, schedule_to_close_s=300)
    with pytest.raises(TimeoutsError, match=named):
        base.overridden(given, max_run_s=100)
    within = {name: value - 1 for name, value in given.items() if math.isfinite(value)}
    assert base.overridden(within, max_run_s=100)
