"""From what the rounds measured to one row of `build/bench.json`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.goals import GOALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One round: the value and its baseline, measured side by side."""

    value: float
    baseline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`value` and `baseline` are medians of the rounds; `ratio` is value / baseline, 0 without a baseline; `spread`
    is how far the rounds' ratios are apart, as a part of their median."""

    id: str
    measure: str
    value: float
    unit: str
    baseline: float
    ratio: float
    goal: str
    verdict: str
    rounds: int
    spread: float
    detail: str = ""


def row(id: str, part: str, pairs: Sequence[Pair], detail: str = "") -> Row:
    """Judges the medians of the rounds by the goal of that id and part."""
    goal = GOALS[id][part]
    value, baseline = median(pair.value for pair in pairs), median(pair.baseline for pair in pairs)
    return Row(
        id=id,
        measure=goal.measure,
        value=rounded(value),
        unit=goal.unit,
        baseline=rounded(baseline),
        ratio=rounded(ratio(value, baseline)),
        goal=str(goal),
        verdict="MET" if goal.is_met(value, baseline) else "MISSED",
        rounds=len(pairs),
        spread=rounded(spread([ratio(pair.value, pair.baseline) for pair in pairs])),
        detail=detail,
    )


def ratio(value: float, baseline: float) -> float:
    """0 without a baseline."""
    return value / baseline if baseline else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of 100 of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(ratios: Sequence[float]) -> float:
    """(largest - smallest) / median; 0 for a single one."""
    middle = median(ratios)
    return (max(ratios) - min(ratios)) / middle if middle else 0.0


def rounded(number: float) -> float:
    """Four significant digits: more would claim what no round can know."""
    return float(f"{number:.4g}")


def rise(samples: Sequence[tuple[float, float]], within: float) -> float:
    """How far the line of least squares through (time, value) rises in `within`, as a part of the mean value."""
    count = len(samples)
    at, mean = sum(time for time, _ in samples) / count, sum(value for _, value in samples) / count
    spread_of_times = sum((time - at) ** 2 for time, _ in samples)
    if not spread_of_times or not mean:
        return 0.0
    slope = sum((time - at) * (value - mean) for time, value in samples) / spread_of_times
    return slope * within / mean
