"""Tests that wait and tests that compute take turns in the part of each process; no test is lost."""

import random
from collections.abc import Iterator
from itertools import groupby

import pytest

from tests.order import AT_THE_END, LONG_S, SECONDS, TOGETHER, in_parts, seconds

FOLDERS = [name for name in SECONDS if not name.endswith(".py")]
SLOW = [f"{folder}/test_{number}.py" for folder in FOLDERS for number in range(9)]
SLOW += [name for name in SECONDS if name.endswith(".py")]
SMALL = [f"{folder}/test_{number}.py" for folder in ("unit/server", "store", "contract") for number in range(40)]


def shares(tests: list[str], parts: int) -> Iterator[list[str]]:
    """What each process gets from xdist (`--dist worksteal`) at the start."""
    left = list(tests)
    for number in range(parts):
        size = len(left) // (parts - number)
        yield left[:size]
        left = left[size:]


def path_of(test: str) -> str:
    return test.partition("::")[0]


def runs(share: list[str]) -> list[tuple[bool, int]]:
    """Of slow and of small tests in turn: which they are, and how many."""
    return [(slow, len(list(tests))) for slow, tests in groupby(share, lambda test: seconds(path_of(test)) > 0)]


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_slow_tests_and_small_ones_take_turns_in_each_process(parts: int) -> None:
    """The longest come first, and small ones last; slow modules stay whole, and are dealt out by what they take."""
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
        long = [seconds(path_of(test)) >= LONG_S for test in share if seconds(path_of(test))]
        assert long == sorted(long, reverse=True)
        turns = runs(share)
        assert turns[0][0], "something slow first"
        assert not turns[-1][0], "something small last"
        small = sum(count for slow, count in turns if not slow)
        assert AT_THE_END * small - 7 <= turns[-1][1] <= AT_THE_END * small + 7
        among = [count for slow, count in turns[:-1] if not slow]
        assert max(among) <= (1 - AT_THE_END) * small / len(among) + 2 * 7, "small ones in one heap"
        sums.append(sum(seconds(path_of(test)) for test in share))
    assert max(sums) <= min(sums) + max(SECONDS.values()) * 7


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_folders_that_share_a_stack_stay_whole(parts: int) -> None:
    """Else each of their modules would start a server and a worker of its own."""
    modules = [(path, [f"{path}::{number}" for number in range(5)]) for path in SLOW + SMALL]
    random.Random(7).shuffle(modules)
    folders = [test.partition("/")[0] for test in in_parts(modules, parts)]
    for folder in TOGETHER:
        assert [name for name, _ in groupby(folders)].count(folder) == 1


@pytest.mark.parametrize("parts", [1, 3, 4])
def test_small_modules_stay_whole_within_a_part(parts: int) -> None:
    """At most one is cut where two parts meet: the tests of a module may share a server."""
    modules = [(path, [f"{path}::{number}" for number in range(5)]) for path in SLOW + SMALL]
    shared = shares(in_parts(modules, parts), parts)
    pieces = [path for share in shared for path, _ in groupby(share, path_of)]
    assert len(modules) <= len(pieces) <= len(modules) + parts - 1


def test_a_part_that_is_full_of_slow_tests_gets_no_small_ones() -> None:
    """What is left over goes to the others, and nothing is lost."""
    modules = [("fuzz/test_a.py", [f"a{number}" for number in range(9)]), ("unit/test_b.py", ["b0", "b1", "b2"])]
    assert in_parts(modules, 2) == [*(f"a{number}" for number in range(9)), "b0", "b1", "b2"]
