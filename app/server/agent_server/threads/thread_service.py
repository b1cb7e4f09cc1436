"""Threads are sessions. A thread that a client makes has no agent of its own: each run names one, or a graph."""

from collections.abc import Mapping
from typing import Any

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.agent_server.refusals import absent, taken
from agent_runner.app.server.agent_server.uuids import session_of, thread_uuid
from agent_runner.app.server.contract.ids import new_resource_id
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.placement import THREAD, Placing
from agent_runner.app.server.problems import broker_unavailable
from agent_runner.clients.broker.publisher import PublishError
from agent_runner.status.phases import TERMINAL_PHASES
from agent_runner.status.store.errors import SlugTaken
from agent_runner.status.store.lists.queries import ExecutionQuery, View
from agent_runner.status.store.records import Removal, ResourceKind
from agent_runner.status.store.registry.threads import NewThread, Thread, ThreadQuery, ThreadStatus

Json = dict[str, Any]
DELETED_AT_ONCE = 100


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

    async def find(self, thread_id: str) -> Thread | None:
        """Raises UNPROCESSABLE for what is no UUID."""
        return await self._store.thread(session_of(thread_id))

    async def prepare(self) -> None:
        """Makes the built-in agent of the caller's org, which threads belong to before their first run."""
        await self._placing.built_in(default_org())

    async def again(self, thread: Thread) -> Thread:
        """As it is now. Raises NOT_FOUND."""
        return await self.get(thread_uuid(thread.session_id))

    async def search(self, query: ThreadQuery) -> tuple[list[Thread], int]:
        """One page, and how many there are in all."""
        return await self.found(query), await self.count(query)

    async def found(self, query: ThreadQuery) -> list[Thread]:
        """One page."""
        return await self._store.search_threads(query)

    async def count(self, query: ThreadQuery) -> int:
        return await self._store.count_threads(query)

    async def delete(self, thread: Thread) -> None:
        """With its session, its memory and its runs; those that are open are cancelled."""
        token = ""
        while True:
            query = ExecutionQuery(session_id=thread.session_id, page_token=token, view=View.BRIEF)
            page = await self._store.list(query)
            for execution in page.executions:
                if execution.phase in TERMINAL_PHASES or execution.org != thread.org:
                    await self._store.delete(execution.id)
                else:
                    await self._edges.executions.cancel(execution.id)
            if not (token := page.next_token):
                break
        await self._edges.resources.delete(ResourceKind.SESSION, thread.session_id)

    async def delete_of_assistant(self, assistant_id: str) -> None:
        """All threads that the caller may see whose last run was of this assistant."""
        query = ThreadQuery(metadata={"assistant_id": assistant_id}, limit=DELETED_AT_ONCE)
        gone: set[str] = set()
        while left := [thread for thread in await self.found(query) if thread.session_id not in gone]:
            for thread in left:
                await self.delete(thread)
                gone.add(thread.session_id)

    async def keep_latest(self, thread: Thread) -> None:
        """Have a worker remove all checkpoints that the newest one does not need. Raises UNAVAILABLE."""
        if not thread.head_checkpoint_id:
            return
        removal = Removal(
            id=0,
            session_id=thread.session_id,
            thread_id=thread.memory_id,
            head_checkpoint_id=thread.head_checkpoint_id,
        )
        try:
            await self._edges.ctx.dispatcher.remove([removal], self._edges.ctx.settings.runner_queue)
        except PublishError as error:
            raise broker_unavailable(str(error)) from error

    async def create(
        self,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        ttl: Mapping[str, Any] | None = None,
        or_existing: bool = False,
    ) -> Thread:
        """`or_existing`: a thread that is there stays as it is and is the answer. Else raises ALREADY_EXISTS."""
        made = await self._made(thread_id, metadata=metadata, config=config, ttl=ttl, or_existing=or_existing)
        return await self.again(made) if made.made else made

    async def create_for_run(
        self, thread_id: str | None = None, *, metadata: Mapping[str, Any], ttl: Mapping[str, Any] | None = None
    ) -> Thread:
        """The thread with this id, which is made if it is missing; without an id a new one. Of a new one only what
        its run needs is known."""
        return await self._made(thread_id, metadata=metadata, ttl=ttl, or_existing=True)

    async def _made(
        self,
        thread_id: str | None,
        *,
        metadata: Mapping[str, Any] | None,
        config: Mapping[str, Any] | None = None,
        ttl: Mapping[str, Any] | None = None,
        or_existing: bool,
    ) -> Thread:
        session_id = session_of(thread_id) if thread_id else new_resource_id(ResourceKind.SESSION)
        if thread_id and (found := await self._store.thread(session_id)) is not None:
            if or_existing:
                return found
            raise taken("Thread", thread_id)
        org = default_org()
        agent = await self._placing.built_in(org)
        instance = await self._edges.resources.default_instance(agent)
        new = NewThread(
            session_id=session_id,
            org=org,
            metadata=metadata or {},
            config=config or {},
            ttl=ttl,
            expires_in_s=expiry_of(ttl),
        )
        session = self._edges.resources.record(
            ResourceKind.SESSION,
            org=org,
            spec={"agent_instance_id": instance.id},
            annotations={THREAD: "1"},
            id=session_id,
        )
        try:
            session = await self._store.make_thread(session, new)
        except SlugTaken:
            found = await self._store.thread(session_id)
            if found is None or not or_existing:
                raise taken("Thread", thread_uuid(session_id)) from None
            return found
        return Thread(
            session_id=session_id,
            org=org,
            status=ThreadStatus.IDLE,
            created_at=0.0,
            updated_at=0.0,
            metadata=dict(new.metadata),
            made=(session, agent),
        )

    async def used(self, thread: Thread, *, metadata: Mapping[str, Any]) -> None:
        """Notes what a run says of its thread (`graph_id`, `assistant_id`), and that the thread is used."""
        if thread.made or (thread.ttl is None and metadata.items() <= thread.metadata.items()):
            return
        await self._store.patch_thread(NewThread(session_id=thread.session_id, org=thread.org, metadata=metadata))

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
