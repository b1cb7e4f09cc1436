"""Waiting for a state instead of sleeping."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")

SHORTEST_S, LONGEST_S = 0.005, 0.1
"""The pauses between two looks: what comes soon is seen at once, what takes long is not asked for all the time. A look
is often a request, and the answers to fifty of them a second would be half the work of a machine with two cores."""


def eventually(probe: Callable[[], T | None], *, within_s: float = 40.0, what: str | Callable[[], str] = "") -> T:
    """The first truthy answer of `probe`; fails after the deadline with what `what` says then, and the last answer."""
    deadline = time.monotonic() + within_s
    last: Any = None
    pause_s = SHORTEST_S
    while time.monotonic() < deadline:
        try:
            if last := probe():
                return last
        except (httpx.HTTPError, psutil.Error) as error:
            last = error
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, LONGEST_S)
    missing = (what() if callable(what) else what) or probe
    raise AssertionError(f"not within {within_s} s: {missing}; last answer: {last!r}")
