"""Verbs are the public methods of the store. A verb is tried again after a conflict with another transaction, and
declares the rule by which it keeps orgs apart.

A conflict rolls back the whole transaction of a verb, so the verb is called again here, a few times. A part of a verb
takes the connection of that transaction and is no verb: if it were tried again alone, it would be done twice.
"""

import functools
import inspect
import random
from asyncio import sleep
from collections.abc import Callable, Coroutine, Iterator
from enum import Enum
from typing import Any, ParamSpec, TypeVar, overload

from agent_runner.status.store.errors import StoreConflict

TRIES, PAUSE_S = 5, 0.02
P = ParamSpec("P")
T = TypeVar("T")
Verb = Callable[P, Coroutine[Any, Any, T]]


class Orgs(Enum):
    """How a verb keeps orgs apart if its caller may belong to an org. A verb without a rule is for the server only:
    no caller reaches it."""

    FINDS = "what it finds is shown to those who may see its org; for others there is nothing"
    EXECUTION = "its first argument is the id of an execution: one of another org is as one that does not exist"
    QUERY = "its query is narrowed to what the caller may see"
    WRITES = "its first argument is a record: its org, and every org that it refers to, is the caller's"
    RESOURCE = "its arguments name a resource: one that the caller cannot see is not there, others must be the caller's"
    FOLLOWS = "it is called again and again about what the caller has read: the caller's key must still hold"
    AFTER_A_READ = "it is called about what the caller has just read, and no caller can name that without"
    NOBODYS = "what it says belongs to no org"


_VERBS: dict[Callable[..., Any], Orgs | None] = {}


@overload
def verb(method: Verb[P, T]) -> Verb[P, T]: ...
@overload
def verb(*, orgs: Orgs) -> Callable[[Verb[P, T]], Verb[P, T]]: ...
def verb(method: Callable[..., Any] | None = None, *, orgs: Orgs | None = None) -> Callable[..., Any]:
    """The method, tried again after a conflict. `orgs`: its rule for callers; without one it is for the server only."""
    return functools.partial(_verb, orgs=orgs) if method is None else _verb(method, orgs)


def _verb(method: Verb[P, T], orgs: Orgs | None) -> Verb[P, T]:
    @functools.wraps(method)
    async def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        for tried in range(1, TRIES):
            try:
                return await method(*args, **kwargs)
            except StoreConflict:
                await sleep(random.uniform(0, PAUSE_S * 2**tried))  # noqa: S311 - spreads the calls that collided
        return await method(*args, **kwargs)

    _VERBS[repeated] = orgs
    return repeated


def rule_of(owner: type, name: str) -> Orgs | None:
    """The rule that the verb of this name declares; None: it has none, or there is no such verb."""
    # A method that overrides a verb and is no verb itself (see `check_verbs`) has the rule of that verb.
    found = (vars(base).get(name) for base in owner.__mro__)
    return next((_VERBS[method] for method in found if inspect.isfunction(method) and method in _VERBS), None)


def verbs_of(owner: type) -> Iterator[str]:
    """The names of all verbs of the class."""
    methods = {name: method for base in owner.__mro__ for name, method in vars(base).items()}
    yield from sorted(name for name, method in methods.items() if inspect.isfunction(method) and method in _VERBS)


def check_verbs(owner: type) -> None:
    """Checks that every public coroutine of the class is a verb, overrides a verb of a base, or is a part of a verb.
    Raises TypeError with the first name that is not: it would raise conflicts that a verb tries again."""
    for name, method in vars(owner).items():
        if name.startswith("_") or not inspect.iscoroutinefunction(method) or method in _VERBS:
            continue
        before = any(getattr(base, name, None) in _VERBS for base in owner.__mro__[1:])
        if not before and "connection" not in inspect.signature(method).parameters:
            raise TypeError(f"{owner.__name__}.{name} is public and no @verb")
