"""`/metrics?format=json`: the few numbers by which a deployment of LangGraph's server is scaled, under its names."""

import statistics
from typing import Any

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.http.shared_answer import Fresh
from agent_runner.status.phases import Phase

Json = dict[str, Any]
REQUESTS = "agent_runner_http_requests"


class Load:
    """Runs and slots are those of all servers and workers, requests those of this server since its start."""

    def __init__(self, ctx: ServerContext) -> None:
        self._store, self._registry = ctx.store, ctx.counted.registry
        self._runner_queue = ctx.settings.runner_queue
        self._fresh = Fresh(self._read, for_s=ctx.settings.health_fresh_s, soon=ctx.outliving)

    async def told(self) -> Json:
        """`{queue, api, workers}`, at most `health_fresh_s` old; times in seconds, null while nothing waits. Raises
        StoreUnavailable."""
        return await self._fresh.get()

    async def _read(self) -> Json:
        counts = await self._store.phase_counts()
        waits = await self._store.pending_waits()
        ready = [age.oldest_s for age in await self._store.queue_ages(org="")]
        slots, busy = await self._slots()
        return {
            "queue": {
                "n_pending": counts.get(Phase.PENDING, 0),
                "n_running": counts.get(Phase.IN_PROGRESS, 0),
                "pending_runs_wait_time_max_secs": waits[0] if waits else None,
                "pending_runs_wait_time_med_secs": statistics.median(waits) if waits else None,
                "pending_unblocked_runs_wait_time_max_secs": max(ready) if ready else None,
            },
            "api": {"http_requests_total": self._requests()},
            "workers": {"max": slots, "active": busy, "available": max(0, slots - busy)},
        }

    async def _slots(self) -> tuple[int, int]:
        """All slots of the workers online that run agents, and how many of them are in use."""
        online = [
            one
            for one in await self._store.workers()
            if one.queue == self._runner_queue and one.gone_at is None and one.disconnected_at is None
        ]
        return sum(one.slots for one in online), sum(one.busy for one in online)

    def _requests(self) -> list[Json]:
        samples = [
            sample for family in self._registry.collect() if family.name == REQUESTS for sample in family.samples
        ]
        return [
            {
                "method": sample.labels["method"],
                "path": sample.labels["route"],
                "status": int(sample.labels["status"]),
                "count": int(sample.value),
            }
            for sample in samples
            if sample.name == f"{REQUESTS}_total"
        ]
