"""Waiting for a state instead of sleeping."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")

SHORTEST_S, LONGEST_S = 0.005, 0.1
"""The pauses between two looks in the first second: what comes soon is seen at once. A look is often a request, and the
answers to fifty of them a second would be half the work of a machine with two cores."""
SHARE, MOST_S = 0.1, 0.25
"""Later, a pause may be this part of what the wait has taken so far, and this long."""


def eventually(probe: Callable[[], T | None], *, within_s: float = 40.0, what: str | Callable[[], str] = "") -> T:
    """The first truthy answer of `probe`; fails after the deadline with what `what` says then, and the last answer."""
    began = time.monotonic()
    deadline = began + within_s
    last: Any = None
    pause_s = SHORTEST_S
    while time.monotonic() < deadline:
        try:
            if last := probe():
                return last
        except (httpx.HTTPError, psutil.Error) as error:
            last = error
        time.sleep(pause_s)
        longest_s = min(max(SHARE * (time.monotonic() - began), LONGEST_S), MOST_S)
        pause_s = min(pause_s * 1.3, longest_s)
    missing = (what() if callable(what) else what) or probe
    raise AssertionError(f"not within {within_s} s: {missing}; last answer: {last!r}")
