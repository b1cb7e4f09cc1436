"""Tests that start processes come first in the part of each process; no test is lost."""

import random

import pytest

from tests.order import SECONDS, in_parts

SLOW = [f"{folder}/test_{number}.py" for folder in SECONDS for number in range(9)]
SMALL = [f"{folder}/test_{number}.py" for folder in ("unit/server", "store", "contract") for number in range(40)]


def shares(tests: list[str], parts: int) -> list[list[str]]:
    """What each process gets from xdist (`--dist worksteal`) at the start."""
    found, left = [], list(tests)
    for number in range(parts):
        size = len(left) // (parts - number)
        found.append(left[:size])
        left = left[size:]
    return found


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_each_process_begins_with_slow_tests_and_ends_with_small_ones(parts: int) -> None:
    """Slow modules stay whole, and what the slow ones take is about the same for all processes."""
    modules = [
        (path, [f"{path}::{number}" for number in range(1 + index % 7)]) for index, path in enumerate(SLOW + SMALL)
    ]
    random.Random(7).shuffle(modules)
    ordered = in_parts(modules, parts)
    assert sorted(ordered) == sorted(test for _, tests in modules for test in tests)
    for path, tests in modules:
        if path in SLOW:
            first = ordered.index(tests[0])
            assert ordered[first : first + len(tests)] == tests
    sums = []
    for share in shares(ordered, parts):
        slow = [test.partition("/")[0] in SECONDS for test in share]
        assert slow == sorted(slow, reverse=True)
        assert slow[0]
        assert not slow[-1]
        sums.append(sum(SECONDS.get(test.partition("/")[0], 0.0) for test in share))
    assert max(sums) <= min(sums) + max(SECONDS.values()) * 7


def test_a_part_that_is_full_of_slow_tests_gets_no_small_ones() -> None:
    """What is left over goes to the others, and nothing is lost."""
    modules = [("fuzz/test_a.py", [f"a{number}" for number in range(9)]), ("unit/test_b.py", ["b0", "b1", "b2"])]
    assert in_parts(modules, 2) == [*(f"a{number}" for number in range(9)), "b0", "b1", "b2"]
