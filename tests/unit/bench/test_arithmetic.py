"""What the bench makes of its numbers."""

import json
from pathlib import Path

import pytest

from bench.arithmetic import Pair, percentile, ratio, rise, rounded, row, spread
from bench.goals import GOALS, Goal
from bench.run import MEASUREMENTS, table, write
from checks.tree import ROOT

FIELDS = {"id", "measure", "value", "unit", "baseline", "ratio", "goal", "verdict", "rounds", "spread"}


def test_each_measurement_has_a_goal() -> None:
    """Every id that can be measured has at least one goal, and every goal says something to measure and its unit.
    S19, which needs another checkout, is a command of its own."""
    assert {*MEASUREMENTS, "S19"} == set(GOALS)
    assert all(goal.measure and goal.unit for goals in GOALS.values() for goal in goals.values())


def test_percentiles_are_values_that_were_measured() -> None:
    """The nearest rank: p50 and p99 of 1..100 are 50 and 99; of one value it is that value; order does not matter."""
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, p) for p in (50, 99, 100)] == [50, 99, 100]
    assert percentile([7.0], 99) == percentile([7.0], 1) == 7.0


def test_a_rise_is_the_slope_of_the_best_line() -> None:
    """As a part of the mean; what goes up and down again does not rise, and one sample says nothing."""
    assert rise([(0.0, 90.0), (1.0, 100.0), (2.0, 110.0)], 10.0) == pytest.approx(1.0)
    assert rise([(0.0, 1.0), (1.0, 5.0), (2.0, 1.0)], 10.0) == 0.0
    assert rise([(3.0, 7.0)], 10.0) == 0.0


def test_a_row_holds_the_medians_of_its_rounds() -> None:
    """Value and baseline are medians, the ratio is that of the medians, the spread that of the rounds' ratios."""
    pairs = [Pair(value=8, baseline=4), Pair(value=10, baseline=4), Pair(value=30, baseline=5)]
    made = row("S1", "p50", pairs)
    assert (made.value, made.baseline, made.ratio, made.rounds) == (10, 4, 2.5, 3)
    assert made.spread == (6 - 2) / 2.5
    assert made.verdict == "MET"


@pytest.mark.parametrize(
    ("goal", "met", "missed"),
    [
        (Goal(measure="m", unit="ms", factor=2.5), (5, 2), (5.1, 2)),
        (Goal(measure="m", unit="ms", factor=3, plus=2), (8, 2), (8.1, 2)),
        (Goal(measure="m", unit="ms", plus=3), (3, 1), (3.1, 9)),
        (Goal(measure="m", unit="runs/s", factor=0.5, at_least=True), (5, 10), (4.9, 10)),
        (Goal(measure="m", unit="events"), (0, 100), (1, 100)),
    ],
)
def test_a_goal_is_met_up_to_its_limit(goal: Goal, met: tuple[float, float], missed: tuple[float, float]) -> None:
    """The limit is factor x baseline + plus, from below or from above; the limit itself is met."""
    assert goal.is_met(*met)
    assert not goal.is_met(*missed)


def test_a_goal_says_its_limit_in_words() -> None:
    """The text of a goal names the comparison, the factor and what is added."""
    assert str(GOALS["S1"]["p50"]) == "<= 2.5 x baseline"
    assert str(GOALS["S2"]["first"]) == "<= 3 x baseline + 2 ms"
    assert str(GOALS["S3"]["ratio"]) == ">= 0.667 x baseline"
    assert str(GOALS["S9"]["lost"]) == "<= 0 events"


@pytest.mark.promise("1.105")
def test_another_checkout_is_a_baseline() -> None:
    """S19 judges this checkout by one that was kept, measured in the same rounds: CPU from above, runs from below; the
    guide says which one and how."""
    judged = {
        "server": (Pair(value=4, baseline=28), Pair(value=4.1, baseline=28)),
        "worker": (Pair(value=40, baseline=40), Pair(value=41, baseline=40)),
        "rate": (Pair(value=6, baseline=2), Pair(value=5.9, baseline=2)),
    }
    assert set(judged) == set(GOALS["S19"])
    for part, pairs in judged.items():
        assert [row("S19", part, [pair]).verdict for pair in pairs] == ["MET", "MISSED"], part
    guide = (ROOT / "docs" / "guides" / "benchmarks.md").read_text()
    assert "make bench-beside OTHER=" in guide
    assert "fbb38d2" in guide


def test_without_a_baseline_there_is_no_ratio() -> None:
    """A baseline of 0 gives the ratio 0, and no error; so does a spread around 0."""
    assert ratio(3, 0) == 0
    assert spread([0, 0]) == 0
    assert spread([4.0]) == 0
    assert rounded(1.23456) == 1.235


def test_the_file_holds_what_is_promised(tmp_path: Path) -> None:
    """build/bench.json is a list of rows with the published fields; the table has a line for each."""
    rows = [row("S1", "p50", [Pair(value=9, baseline=3)], "why")]
    write(tmp_path / "build" / "bench.json", rows)
    (told,) = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert set(told) >= FIELDS
    assert told["verdict"] == "MISSED"
    assert "MISSED" in table(rows)
