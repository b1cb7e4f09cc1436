"""Waiting for a state instead of sleeping."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")


def eventually(probe: Callable[[], T | None], *, within_s: float = 20.0, what: str = "") -> T:
    """The first truthy answer of `probe`; fails after the deadline with the last answer."""
    deadline = time.monotonic() + within_s
    last: Any = None
    while time.monotonic() < deadline:
        try:
            if last := probe():
                return last
        except (httpx.HTTPError, psutil.Error) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"not within {within_s} s: {what or probe}; last answer: {last!r}")
