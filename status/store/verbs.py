"""What makes a method a verb of the store: it may be called from outside, and gives way to other transactions.

A verb whose transaction gave way to another one was rolled back whole: it is done again here, a few times. Parts of a
verb take the connection of its transaction; done again alone, they would be done twice.
"""

import functools
import inspect
import random
from asyncio import sleep
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from status.store.errors import StoreConflict

TRIES, PAUSE_S = 5, 0.02
P = ParamSpec("P")
T = TypeVar("T")
_VERBS: set[Callable[..., Any]] = set()


def verb(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The method, tried again after a conflict."""

    @functools.wraps(method)
    async def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        for tried in range(1, TRIES):
            try:
                return await method(*args, **kwargs)
            except StoreConflict:
                await sleep(random.uniform(0, PAUSE_S * 2**tried))  # noqa: S311 - spreads those that met
        return await method(*args, **kwargs)

    _VERBS.add(repeated)
    return repeated


def check_verbs(owner: type) -> None:
    """Every public coroutine of the class is a verb, stands before one of its bases', or is a part of one. Raises
    TypeError that names the first which is neither: forgotten, it would tell its caller of a conflict that is over."""
    for name, method in vars(owner).items():
        if name.startswith("_") or not inspect.iscoroutinefunction(method) or method in _VERBS:
            continue
        before = any(getattr(base, name, None) in _VERBS for base in owner.__mro__[1:])
        if not before and "connection" not in inspect.signature(method).parameters:
            raise TypeError(f"{owner.__name__}.{name} is public and no @verb")
