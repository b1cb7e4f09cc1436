"""The store as the caller may see it. This is the only place that keeps orgs apart.

All reads and writes of handlers go through here, for the principal of the call. A key of one org finds the records of
its org. It may also read, but not write, the records of the platform. Each verb of the store declares its rule
(`agent_runner.status.store.verbs.Orgs`). A verb without a rule is the server's own and cannot be called from here.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

from agent_runner.app.server.access.principal import PLATFORM, current, must_own, sees
from agent_runner.status.store.lists.queries import ExecutionQuery, Query
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import Orgs, rule_of

NO_ID = ""
"""No record has this id: the store answers as for an unknown id."""
Call = Callable[..., Awaitable[Any]]


def visible(store: Store, confirm: Callable[[], Awaitable[None]]) -> Store:
    """The store with only the verbs that callers may use. `confirm` raises when the caller's key was revoked."""
    return cast("Store", _Visible(store, confirm))


class _Visible:
    """A wrapper around the store. All attributes not defined here are verbs of the store that have a rule."""

    __slots__ = ("confirm", "rules", "store")

    def __init__(self, store: Store, confirm: Callable[[], Awaitable[None]]) -> None:
        self.store = store
        self.confirm = confirm
        self.rules: dict[str, Orgs | None] = {}
        """Those that were asked for. Their names are in our code, never in a request."""

    def __getattr__(self, name: str) -> Call:
        if name not in self.rules:
            self.rules[name] = rule_of(type(self.store), name)
        rule = self.rules[name]
        if rule is None:
            raise AttributeError(f"Store.{name} has no rule for orgs: it is not for what a caller asks")
        return partial(RULES[rule], self, getattr(self.store, name))

    async def is_callers(self, id: str) -> bool:
        """Whether the caller may know of the execution."""
        if not current().org:
            return True
        await self.confirm()
        found = await self.store.get(id)
        return found is not None and sees(found.org)


async def _finds(view: _Visible, verb: Call, *args: Any, **kwargs: Any) -> Any:
    """Confirms the key at each read. So a stream, which reads again and again, ends soon after its key was revoked."""
    await view.confirm()
    found = await verb(*args, **kwargs)
    parts = found if isinstance(found, tuple) else (found,)
    if parts[0] is None or not sees(parts[0].org):
        return None
    return found if all(sees(part.org) for part in parts if isinstance(part, Resource)) else None


async def _lists(view: _Visible, verb: Call, *args: Any, **kwargs: Any) -> Any:
    await view.confirm()
    return [record for record in await verb(*args, **kwargs) if sees(record.org)]


async def _execution(view: _Visible, verb: Call, id: str, *args: Any, **kwargs: Any) -> Any:
    return await verb(id if await view.is_callers(id) else NO_ID, *args, **kwargs)


async def _query(view: _Visible, verb: Call, query: Query) -> Any:
    if mine := current().org:
        query = replace(query, orgs=(mine, PLATFORM))
        if isinstance(query, ExecutionQuery) and not query.org:
            query = replace(query, org=mine)
    return await verb(query)


async def _mine(view: _Visible, verb: Call, *args: Any, org: str = "", **kwargs: Any) -> Any:
    return await verb(*args, org=current().org or org, **kwargs)


async def _writes(view: _Visible, verb: Call, record: Any, *args: Any, **kwargs: Any) -> Any:
    """The caller must own the record's org, and each org that a resource refers to, except the platform.

    The references are checked here because a run follows them later for any caller.
    """
    must_own(record.org)
    if current().org and isinstance(record, Resource):
        for org in _referenced(record.body.get("spec")):
            if org != PLATFORM:
                must_own(org)
    return await verb(record, *args, **kwargs)


async def _resource(view: _Visible, verb: Call, kind: ResourceKind, id: str, *args: Any, **kwargs: Any) -> Any:
    found = await view.store.get_resource(kind, id)
    seen = found is not None and sees(found.org)
    if found is not None and seen:
        must_own(found.org)
    return await verb(kind, id if seen else NO_ID, *args, **kwargs)


async def _follows(view: _Visible, verb: Call, *args: Any, **kwargs: Any) -> Any:
    await view.confirm()
    return await verb(*args, **kwargs)


async def _as_it_is(view: _Visible, verb: Call, *args: Any, **kwargs: Any) -> Any:
    return await verb(*args, **kwargs)


RULES: dict[Orgs, Call] = {
    Orgs.FINDS: _finds,
    Orgs.LISTS: _lists,
    Orgs.EXECUTION: _execution,
    Orgs.QUERY: _query,
    Orgs.MINE: _mine,
    Orgs.WRITES: _writes,
    Orgs.RESOURCE: _resource,
    Orgs.FOLLOWS: _follows,
    Orgs.AFTER_A_READ: _as_it_is,
    Orgs.NOBODYS: _as_it_is,
}


def _referenced(value: Any) -> Iterator[str]:
    """The orgs of all references (`{"org", "slug", ...}`) anywhere in the value."""
    match value:
        case {"slug": str(), "org": str(org)}:
            yield org
        case dict():
            for inner in value.values():
                yield from _referenced(inner)
        case list():
            for inner in value:
                yield from _referenced(inner)
