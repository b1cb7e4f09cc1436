"""Removes threads whose time is over (`ttl` of the Agent Server API), or their older states. Any server may do it."""

from agent_runner.app.server.access.principal import SERVER, acting_as
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import thread_uuid
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.app.server.problems import Problem
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.registry.threads import ThreadStatus

log = event_logger(__name__)
PERIOD_S = 30.0
KEEP_LATEST = "keep_latest"


class ThreadExpiry(Background):
    """A busy thread waits until it is idle. One that keeps its latest state begins its time again."""

    NAME = "removing threads whose time is over"

    def __init__(self, ctx: ServerContext, period_s: float = PERIOD_S) -> None:
        super().__init__(period_s)
        self._store = ctx.store
        self._threads = ThreadService(Edges.of(ctx))

    async def round(self) -> None:
        for session_id in await self._store.expired_threads():
            with acting_as(SERVER):
                await self._expire(session_id)

    async def _expire(self, session_id: str) -> None:
        thread = await self._threads.find(thread_uuid(session_id))
        if thread is None or thread.status is ThreadStatus.BUSY:
            return
        try:
            if (thread.ttl or {}).get("strategy") == KEEP_LATEST:
                await self._threads.keep_latest(thread)
                await self._threads.change(thread)
            else:
                await self._threads.delete(thread)
        except Problem as problem:  # the broker is away, or another server was first
            log.warning("thread.not_expired", session_id=session_id, error=problem.detail)
