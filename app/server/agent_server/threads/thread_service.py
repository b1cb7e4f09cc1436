"""Threads are sessions. A thread that a client makes has no agent of its own: each run names one, or a graph."""

from collections.abc import Mapping
from typing import Any

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.agent_server.refusals import absent, taken
from agent_runner.app.server.agent_server.uuids import session_of, thread_uuid
from agent_runner.app.server.contract.ids import new_resource_id
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.placement import THREAD, Placing
from agent_runner.status.store.errors import SlugTaken
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.registry.threads import NewThread, Thread

Json = dict[str, Any]


class ThreadService:
    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._store = edges.ctx.store
        self._placing = Placing(self._store, edges.resources)

    async def get(self, thread_id: str) -> Thread:
        """Raises NOT_FOUND for a thread that is not there or another org's, UNPROCESSABLE for what is no UUID."""
        session_id = session_of(thread_id)
        found = await self._store.thread(session_id)
        if found is None:
            raise absent("Thread", thread_id)
        return found

    async def create(
        self,
        thread_id: str = "",
        *,
        metadata: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        ttl: Mapping[str, Any] | None = None,
        or_existing: bool = False,
    ) -> Thread:
        """`or_existing`: a thread that is there stays as it is and is the answer. Else raises ALREADY_EXISTS."""
        session_id = session_of(thread_id) if thread_id else new_resource_id(ResourceKind.SESSION)
        if thread_id and (found := await self._store.thread(session_id)) is not None:
            if or_existing:
                return found
            raise taken("Thread", thread_id)
        org = default_org()
        agent = await self._placing.built_in(org)
        instance = await self._edges.resources.default_instance(agent)
        try:
            await self._edges.resources.make(
                ResourceKind.SESSION,
                org=org,
                spec={"agent_instance_id": instance.id},
                annotations={THREAD: "1"},
                id=session_id,
            )
        except SlugTaken:
            found = await self._store.thread(session_id)
            if found is None or not or_existing:
                raise taken("Thread", thread_id) from None
            return found
        await self._store.put_thread(
            NewThread(
                session_id=session_id,
                org=org,
                metadata=metadata or {},
                config=config or {},
                ttl=ttl,
                expires_in_s=expiry_of(ttl),
            )
        )
        return await self.get(thread_uuid(session_id))

    async def change(
        self,
        thread: Thread,
        *,
        metadata: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        ttl: Mapping[str, Any] | None = None,
    ) -> Thread:
        """Merges metadata and config, key by key. A run notes its `graph_id` and `assistant_id` in this way."""
        await self._store.patch_thread(
            NewThread(
                session_id=thread.session_id,
                org=thread.org,
                metadata=metadata or {},
                config=config or {},
                ttl=ttl,
                expires_in_s=expiry_of(ttl),
            )
        )
        return await self.get(thread_uuid(thread.session_id))


def expiry_of(ttl: Mapping[str, Any] | None) -> float | None:
    """Seconds until a thread is removed; None: never."""
    minutes = (ttl or {}).get("ttl")
    return None if minutes is None else float(minutes) * 60
