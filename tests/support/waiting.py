"""Waiting for a state instead of sleeping."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")


def eventually(probe: Callable[[], T | None], *, within_s: float = 20.0, what: str | Callable[[], str] = "") -> T:
    """The first truthy answer of `probe`; fails after the deadline with what `what` says then, and the last answer."""
    deadline = time.monotonic() + within_s
    last: Any = None
    while time.monotonic() < deadline:
        try:
            if last := probe():
                return last
        except (httpx.HTTPError, psutil.Error) as error:
            last = error
        time.sleep(0.02)
    missing = (what() if callable(what) else what) or probe
    raise AssertionError(f"not within {within_s} s: {missing}; last answer: {last!r}")
