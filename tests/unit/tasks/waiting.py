"""Waiting for a state instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], *, within_s: float = 20.0, what: str | Callable[[], str] = "") -> T:
    """The first truthy answer of `probe`; fails after the deadline, with what `what` says then."""
    until = time.monotonic() + within_s
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < until, f"not within {within_s} s: {(what() if callable(what) else what) or probe}"
        time.sleep(0.01)
