"""Verbs are the public methods of the store. A verb is tried again after a conflict with another transaction, and
declares the rule by which it keeps orgs apart.

A verb that `writes` or `reads` is written as a plain function over a connection. It is one transaction: it is handed to
a thread of the store as a whole, and its caller awaits it. A conflict rolls it back as a whole, so it is called again
here, a few times. A `verb` is a coroutine made of such transactions, each of which is tried again by itself. A part of
a verb takes the connection of its transaction and is no verb: if it were tried again alone, it would be done twice.
"""

import functools
import inspect
import random
from asyncio import sleep
from collections.abc import Callable, Coroutine, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypedDict, TypeVar, overload

from agent_runner.status.store.errors import StoreConflict

if TYPE_CHECKING:
    from agent_runner.status.store.connection import Transactions
    from agent_runner.status.store.driver.transaction import Connection

TRIES, PAUSE_S = 5, 0.02
P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Transactions")
Verb = Callable[P, Coroutine[Any, Any, T]]


class Kind(Enum):
    """What a transaction is for."""

    WRITES = "writes"
    READS = "reads"


class Orgs(Enum):
    """How a verb keeps orgs apart if its caller may belong to an org. A verb without a rule is for the server only:
    no caller reaches it."""

    FINDS = "what it finds is shown to those who may see its org; for others there is nothing"
    LISTS = "of the records that it finds those are shown whose org the caller may see"
    EXECUTION = "its first argument is the id of an execution: one of another org is as one that does not exist"
    QUERY = "its query is narrowed to what the caller may see"
    WRITES = "its first argument is a record: its org, and every org that it refers to, is the caller's"
    RESOURCE = "its arguments name a resource: one that the caller cannot see is not there, others must be the caller's"
    MINE = "its keyword `org` is the caller's, whatever was given"
    FOLLOWS = "it is called again and again about what the caller has read: the caller's key must still hold"
    AFTER_A_READ = "it is called about what the caller has just read, and no caller can name that without"
    NOBODYS = "what it says belongs to no org"


class How(TypedDict):
    """See `writes`."""

    alone: bool
    short: bool


_VERBS: dict[Callable[..., Any], Orgs | None] = {}


Plain = Callable[Concatenate[S, "Connection", P], T]
Public = Callable[Concatenate[S, P], Coroutine[Any, Any, T]]


@overload
def writes(method: Plain[S, P, T]) -> Public[S, P, T]: ...
@overload
def writes(
    *, orgs: Orgs | None = None, alone: bool = False, short: bool = False
) -> Callable[[Plain[S, P, T]], Public[S, P, T]]: ...
def writes(
    method: Callable[..., Any] | None = None, *, orgs: Orgs | None = None, alone: bool = False, short: bool = False
) -> Callable[..., Any]:
    """The function as one transaction that writes. `orgs`: its rule for callers; without one it is for the server.
    `alone`: it is a single statement, which needs no BEGIN and COMMIT of its own. `short`: it finds its rows by their
    keys and they are few; where it may find many, it says so (`Connection.may_last`)."""
    return _transaction(Kind.WRITES, orgs, How(alone=alone, short=short), method)


@overload
def reads(method: Plain[S, P, T]) -> Public[S, P, T]: ...
@overload
def reads(
    *, orgs: Orgs | None = None, alone: bool = False, short: bool = False
) -> Callable[[Plain[S, P, T]], Public[S, P, T]]: ...
def reads(
    method: Callable[..., Any] | None = None, *, orgs: Orgs | None = None, alone: bool = False, short: bool = False
) -> Callable[..., Any]:
    """The function as one transaction that sees one state of the database. The rest as in `writes`."""
    return _transaction(Kind.READS, orgs, How(alone=alone, short=short), method)


def _transaction(kind: Kind, orgs: Orgs | None, how: How, method: Callable[..., Any] | None) -> Callable[..., Any]:
    if method is None:
        return lambda method: _whole(kind, orgs, how, method)
    return _whole(kind, orgs, how, method)


def _whole(kind: Kind, orgs: Orgs | None, how: How, method: Plain[S, P, T]) -> Public[S, P, T]:
    async def whole(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        def work(connection: "Connection") -> T:
            return method(self, connection, *args, **kwargs)

        for tried in range(1, TRIES):
            try:
                return await self.transact(kind, work, **how)
            except StoreConflict:
                await sleep(random.uniform(0, PAUSE_S * 2**tried))  # noqa: S311 - spreads the calls that collided
        return await self.transact(kind, work, **how)

    functools.update_wrapper(whole, method)
    del whole.__wrapped__  # type: ignore[attr-defined] # its signature has the connection, which no caller gives
    _VERBS[whole] = orgs
    return whole


@overload
def verb(method: Verb[P, T]) -> Verb[P, T]: ...
@overload
def verb(*, orgs: Orgs) -> Callable[[Verb[P, T]], Verb[P, T]]: ...
def verb(method: Callable[..., Any] | None = None, *, orgs: Orgs | None = None) -> Callable[..., Any]:
    """A coroutine that calls transactions, one after the other. `orgs` as in `writes`."""

    def made(method: Callable[..., Any]) -> Callable[..., Any]:
        _VERBS[method] = orgs
        return method

    return made if method is None else made(method)


def rule_of(owner: type, name: str) -> Orgs | None:
    """The rule that the verb of this name declares; None: it has none, or there is no such verb."""
    # A method that overrides a verb and is no verb itself (see `check_verbs`) has the rule of that verb.
    found = (vars(base).get(name) for base in owner.__mro__)
    return next((_VERBS[method] for method in found if inspect.isfunction(method) and method in _VERBS), None)


def verbs_of(owner: type) -> Iterator[str]:
    """The names of all verbs of the class."""
    methods = {name: method for base in owner.__mro__ for name, method in vars(base).items()}
    verbs = (name for name, method in methods.items() if inspect.isfunction(method) and method in _VERBS)
    yield from sorted(name for name in verbs if not name.startswith("_"))


def check_verbs(owner: type) -> None:
    """Checks that every public coroutine of the class is a verb or overrides a verb of a base. Raises TypeError with
    the first name that is not: nobody would know its rule."""
    for name, method in vars(owner).items():
        if name.startswith("_") or not inspect.iscoroutinefunction(method) or method in _VERBS:
            continue
        if not any(getattr(base, name, None) in _VERBS for base in owner.__mro__[1:]):
            raise TypeError(f"{owner.__name__}.{name} is public and no @verb")
