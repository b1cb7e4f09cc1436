"""The store as the caller may see it: the one place where orgs are kept apart.

Everything that handlers read or write goes through here, each time for the principal of the call. A key of one org
finds its own and, to read only, what belongs to the platform. What lasts (a stream) reads again and again, and so ends
soon after its key was revoked.
"""

import builtins
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from app.server.principal import PLATFORM, current, must_own, sees
from status.attachments import Attachment
from status.log import LogRow, State
from status.phases import Phase
from status.store.paging import size_of
from status.store.records import (
    Created,
    Execution,
    NewExecution,
    Page,
    Resource,
    ResourceKind,
    ResourcePage,
    SkillVersion,
    View,
)
from status.store.store import Store


class Visible(Store):
    __slots__ = ("_confirm",)

    def __init__(self, store: Store, confirm: Callable[[], Awaitable[None]]) -> None:
        """Another face of the same store, not another store. `confirm` raises when the caller's key was revoked."""
        self.__dict__ = store.__dict__
        self._confirm = confirm

    async def get(self, id: str) -> Execution | None:
        await self._confirm()
        found = await super().get(id)
        return found if found is not None and sees(found.org) else None

    async def state(self, id: str) -> tuple[Execution, State] | None:
        found = await super().state(id)
        return found if found is not None and sees(found[0].org) else None

    async def last_of_session(self, session_id: str, *, waiting: bool = False) -> Execution | None:
        found = await super().last_of_session(session_id, waiting=waiting)
        return found if found is not None and sees(found.org) else None

    async def read_log(
        self, id: str, after: int = 0, limit: int = 1000, *, max_bytes: int | None = None
    ) -> builtins.list[LogRow]:
        """Callers have read the execution before: it is known to be theirs."""
        await self._confirm()
        return await super().read_log(id, after, limit, max_bytes=max_bytes)

    async def attachments(self, id: str) -> builtins.list[Attachment]:
        return await super().attachments(id) if await self._is_callers(id) else []

    async def attachment(self, id: str, attachment_id: str) -> Attachment | None:
        return await super().attachment(id, attachment_id) if await self._is_callers(id) else None

    async def list(
        self,
        *,
        org: str = "",
        phase: Phase | None = None,
        session_id: str = "",
        agent_id: str = "",
        waiting: bool | None = None,
        tags: Sequence[str] = (),
        page_size: int = 0,
        page_token: str = "",
        page: int = 1,
        view: View = View.FULL,
        max_bytes: int | None = None,
    ) -> Page:
        mine = current().org
        if mine and org not in ("", mine):
            return Page(executions=[], states=[], next_token="", total=0, page_size=size_of(page_size))
        return await super().list(
            org=mine or org, phase=phase, session_id=session_id, agent_id=agent_id, waiting=waiting, tags=tags,
            page_size=page_size, page_token=page_token, page=page, view=view, max_bytes=max_bytes,
        )  # fmt: skip

    async def create(self, new: NewExecution, *, queue_cap: int = 0) -> Created:
        must_own(new.org)
        return await super().create(new, queue_cap=queue_cap)

    async def request_cancel(self, id: str, by: str) -> Execution | None:
        return await super().request_cancel(id, by) if await self._is_callers(id) else None

    async def merge_status(self, id: str, partial: Mapping[str, Any]) -> tuple[Execution, str] | None:
        return await super().merge_status(id, partial) if await self._is_callers(id) else None

    async def update_spec(
        self, id: str, *, expect_version: int, name: str, spec: Mapping[str, Any], by: str
    ) -> Execution | None:
        if not await self._is_callers(id):
            return None
        return await super().update_spec(id, expect_version=expect_version, name=name, spec=spec, by=by)

    async def delete(self, id: str) -> bool:
        return await self._is_callers(id) and await super().delete(id)

    async def get_resource(self, kind: ResourceKind, id: str) -> Resource | None:
        found = await super().get_resource(kind, id)
        return found if found is not None and sees(found.org) else None

    async def find_resource(self, kind: ResourceKind, org: str, slug: str) -> Resource | None:
        return await super().find_resource(kind, org, slug) if sees(org) else None

    async def list_resources(
        self,
        kind: ResourceKind,
        *,
        org: str = "",
        orgs: Sequence[str] = (),
        parent_id: str = "",
        grandparent: tuple[ResourceKind, str] | None = None,
        tags: Sequence[str] = (),
        page_size: int = 0,
        page_token: str = "",
        page: int = 1,
        view: View = View.FULL,
        max_bytes: int | None = None,
    ) -> ResourcePage:
        if mine := current().org:
            if org not in ("", mine):
                return ResourcePage(resources=[], next_token="", total=0, page_size=size_of(page_size))
            orgs = (mine, PLATFORM)
        return await super().list_resources(
            kind, org=org, orgs=orgs, parent_id=parent_id, grandparent=grandparent, tags=tags, page_size=page_size,
            page_token=page_token, page=page, view=view, max_bytes=max_bytes,
        )  # fmt: skip

    async def put_resource(self, resource: Resource, *, expect_version: int | None = None) -> Resource:
        _must_write(resource)
        return await super().put_resource(resource, expect_version=expect_version)

    async def delete_resource(self, kind: ResourceKind, id: str) -> Resource | None:
        found = await self.get_resource(kind, id)
        if found is None:
            return None
        must_own(found.org)
        return await super().delete_resource(kind, id)

    async def push_skill(
        self, skill: Resource, version: SkillVersion, archive: bytes, *, expect_version: int | None = None
    ) -> Resource:
        _must_write(skill)
        return await super().push_skill(skill, version, archive, expect_version=expect_version)

    async def _is_callers(self, id: str) -> bool:
        return not current().org or await self.get(id) is not None


def _must_write(resource: Resource) -> None:
    """Its own org, and every org that it refers to: a reference is followed when it runs, for whoever runs it."""
    must_own(resource.org)
    if current().org:
        for org in _referenced(resource.body.get("spec")):
            if org != PLATFORM:
                must_own(org)


def _referenced(value: Any) -> Iterator[str]:
    """The orgs of all references (`{"org", "slug", ...}`) anywhere in there."""
    match value:
        case {"slug": str(), "org": str(org)}:
            yield org
        case dict():
            for inner in value.values():
                yield from _referenced(inner)
        case list():
            for inner in value:
                yield from _referenced(inner)
