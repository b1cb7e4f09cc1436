"""The order of the tests, so that all processes of a run are done at the same time.

Each of xdist's processes gets an equal part of the list, and takes from the end of another's when it has done its own.
So the tests that start processes stand at the beginning of each part, and at its end are small ones, of which there are
enough to be shared out. Slow modules stay whole: their tests share what is running. Apart
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
    "agent_server": 4.0,
    "processes": 2.0,
    "front_ends": 1.0,
}
"""What a test of the slow folders takes, about. All others are small."""
LONGEST = "fuzz"


def part_count() -> int:
    """How many processes xdist has; 0 without it."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))


def in_parts(modules: Iterable[Module[T]], parts: int) -> list[T]:
    """`modules`: the path of each below `tests/`, and its tests. Slow modules are dealt out by what they take."""
    slow, small = [], []
    for path, tests in modules:
        if cost := SECONDS.get(_folder(path), 0.0) * len(tests):
            slow.append((path, tests, cost))
        else:
            small += tests
    dealt: list[list[T]] = [[] for _ in range(parts)]
    costs = [0.0] * parts
    for _, tests, cost in sorted(slow, key=lambda module: _folder(module[0]) != LONGEST):
        least = costs.index(min(costs))
        dealt[least] += tests
        costs[least] += cost
    return list(_filled(dealt, small))


def by_module(tests: Iterable[T], module_of: Callable[[T], str]) -> list[Module[T]]:
    """In the order of their first tests."""
    found: dict[str, list[T]] = {}
    for test in tests:
        found.setdefault(module_of(test), []).append(test)
    return list(found.items())


def _filled(dealt: Sequence[list[T]], small: Sequence[T]) -> Iterator[T]:
    """Each part with small tests up to xdist's length of it: an equal share, rounded down, of what is left."""
    left = sum(map(len, dealt)) + len(small)
    taken = 0
    for number, part in enumerate(dealt):
        share = left // (len(dealt) - number)
        added = small[taken : taken + max(share - len(part), 0)]
        taken += len(added)
        left -= len(part) + len(added)
        yield from (*part, *added)
    yield from small[taken:]


def _folder(path: str) -> str:
    return PurePath(path).parts[0]
