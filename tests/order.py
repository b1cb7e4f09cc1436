"""The order of the tests, so that all processes of a run are done at the same time and the machine has work until then.

Each of xdist's processes gets an equal part of the list, and takes from the end of another's when it has done its own.
Tests that start processes wait for most of their time; small ones keep a core busy. So each part has both in turn: a
slow module, then some small ones. What is longest stands at its beginning, and at its end are small tests alone, of
which there are enough to be shared out. Modules stay whole, and some folders: their tests share what is running. Apart
from that the order stays the random one.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import TypeVar

T = TypeVar("T")
Module = tuple[str, list[T]]

SECONDS = {
    "fuzz": 120.0,
    "integration": 6.0,
    "surroundings": 5.0,
    "agent_server": 1.0,
    "processes": 2.0,
    "front_ends": 1.0,
    "control_plane/test_against_model.py": 40.0,
    "integration/test_bad_ends.py": 60.0,
    "integration/test_models.py": 40.0,
    "model": 40.0,
    "unit/mcp/test_real_servers.py": 40.0,
}
"""What a test of the slow folders, and of some modules, takes, about. All others are small."""
LONG_S = 40.0
"""A module with tests of this length stands before all others: nobody can help with a test that has begun."""
TOGETHER = ("agent_server", "front_ends")
"""Slow folders with one server and one worker for all modules."""
AT_THE_END = 0.5
"""The share of a part's small tests that comes after its slow ones."""


def part_count() -> int:
    """How many processes xdist has; 0 without it."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))


def in_parts(modules: Iterable[Module[T]], parts: int) -> list[T]:
    """`modules`: the path of each below `tests/`, and its tests. Slow modules are dealt out by what they take."""
    slow: dict[str, list[Module[T]]] = {}
    small: list[list[T]] = []
    for path, tests in modules:
        if seconds(path):
            folder = PurePath(path).parts[0]
            slow.setdefault(folder if folder in TOGETHER else path, []).append((path, tests))
        else:
            small.append(tests)
    dealt: list[list[list[T]]] = [[] for _ in range(parts)]
    costs = [0.0] * parts
    for together in sorted(slow.values(), key=lambda modules: seconds(modules[0][0]) < LONG_S):
        least = costs.index(min(costs))
        dealt[least].append([test for _, tests in together for test in tests])
        costs[least] += sum(seconds(path) * len(tests) for path, tests in together)
    return list(_filled(dealt, small))


def by_module(tests: Iterable[T], module_of: Callable[[T], str]) -> list[Module[T]]:
    """In the order of their first tests."""
    found: dict[str, list[T]] = {}
    for test in tests:
        found.setdefault(module_of(test), []).append(test)
    return list(found.items())


def seconds(path: str) -> float:
    """What each test of this module takes, about; 0 for small ones."""
    return SECONDS.get(path, SECONDS.get(PurePath(path).parts[0], 0.0))


def _filled(dealt: Sequence[list[list[T]]], small: Sequence[list[T]]) -> Iterator[T]:
    """Each part with small modules up to xdist's length of it: an equal share, rounded down, of what is left. Only
    where two parts meet a module of small tests is cut."""
    left = sum(len(tests) for part in dealt for tests in part) + sum(map(len, small))
    rest = [list(tests) for tests in reversed(small)]
    for number, part in enumerate(dealt):
        share = left // (len(dealt) - number)
        wanted = max(share - sum(map(len, part)), 0)
        added = list(_taken(rest, wanted)) if number + 1 < len(dealt) else rest[::-1]
        left -= sum(map(len, part)) + sum(map(len, added))
        yield from _in_turn(part, added)


def _taken(rest: list[list[T]], wanted: int) -> Iterator[list[T]]:
    """So many tests from the end of `rest`."""
    while wanted and rest:
        tests = rest.pop()
        if len(tests) > wanted:
            rest.append(tests[wanted:])
        yield tests[:wanted]
        wanted -= len(tests[:wanted])


def _in_turn(slow: Sequence[list[T]], small: Sequence[list[T]]) -> Iterator[T]:
    """Between two slow modules their share of the small ones that do not wait for the end."""
    among = sum(map(len, small)) * (1 - AT_THE_END)
    given, left = 0, iter(small)
    for number, tests in enumerate(slow):
        while given < among * number / (len(slow) - 1 or 1) and (some := next(left, None)):
            given += len(some)
            yield from some
        yield from tests
    for some in left:
        yield from some
