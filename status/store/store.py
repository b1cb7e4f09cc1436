"""The store: all verbs on one object. Each base class is one file and one concern."""

import functools
import inspect
import random
from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from status.store.api_keys import ApiKeys
from status.store.attachments import Attachments
from status.store.creation import Creation
from status.store.described import Described
from status.store.errors import StoreConflict
from status.store.presence import Presence
from status.store.reported import Reported
from status.store.retention import Retention
from status.store.running import Running
from status.store.skills import Skills
from status.store.sweeping import Sweeping

TRIES, PAUSE_S = 5, 0.02
P = ParamSpec("P")
T = TypeVar("T")


class Store(Creation, Running, Presence, Sweeping, Reported, Described, Skills, ApiKeys, Retention, Attachments):
    """`Store.open(url)` connects lazily; `close()` when done. Every verb may raise `StoreUnavailable`.

    A verb whose transaction gave way to another one was rolled back whole: it is done again here, a few times.
    """


def _again(verb: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    @functools.wraps(verb)
    async def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        for tried in range(1, TRIES):
            try:
                return await verb(*args, **kwargs)
            except StoreConflict:
                await sleep(random.uniform(0, PAUSE_S * 2**tried))  # noqa: S311 - spreads those that met
        return await verb(*args, **kwargs)

    return repeated


for _name, _verb in inspect.getmembers(Store, inspect.iscoroutinefunction):
    if not _name.startswith("_"):
        setattr(Store, _name, _again(_verb))
