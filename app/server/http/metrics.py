"""The server's metrics, for Prometheus. The numbers of the store are read at the scrape."""

import asyncio
from collections import Counter as Tally

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.http.shared_answer import Fresh
from agent_runner.status.phases import Phase
from agent_runner.status.store.errors import StoreError

OPEN_PHASES = (Phase.PENDING, Phase.IN_PROGRESS)


class Metrics:
    content_type = CONTENT_TYPE_LATEST

    def __init__(self, ctx: ServerContext) -> None:
        self._store = ctx.store
        self._scraped = Fresh(self._scrape, for_s=ctx.settings.health_fresh_s, soon=ctx.outliving)
        self._registry = ctx.counted.registry
        kept = self._registry
        self._requests = Counter(
            "agent_runner_http_requests", "HTTP requests answered", ["method", "route", "status"], registry=kept
        )
        self._seconds = Histogram(
            "agent_runner_http_request_seconds",
            "To the end of the answer; streams included",
            ["route"],
            registry=kept,
        )
        self.accepted = Counter("agent_runner_executions_accepted", "Executions accepted by HTTP", registry=kept)
        self.streams = Gauge("agent_runner_event_streams", "Event streams that are open", registry=kept)
        self._open = Gauge("agent_runner_executions_open", "Executions that have not ended", ["phase"], registry=kept)
        self._oldest = Gauge("agent_runner_oldest_open_seconds", "Age of the oldest execution not ended", registry=kept)
        self._workers = Gauge("agent_runner_workers", "Worker processes online", ["queue"], registry=kept)
        self._slots = Gauge("agent_runner_worker_slots", "Slots of the workers online", ["queue"], registry=kept)
        self._busy = Gauge("agent_runner_worker_busy", "Slots in use", ["queue"], registry=kept)
        self._hung = Gauge(
            "agent_runner_worker_hung_threads",
            "Threads of ended runs that have not come back",
            ["queue"],
            registry=kept,
        )
        self._not_taking = Gauge(
            "agent_runner_workers_not_taking", "Worker processes online that take no work", ["queue"], registry=kept
        )
        self._schedules = Gauge("agent_runner_schedules", "Schedules", ["state"], registry=kept)
        self._store_up = Gauge("agent_runner_store_up", "1 when the database answered this scrape", registry=kept)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    async def scraped(self) -> bytes:
        """The metrics, at most `health_fresh_s` old. If the database is away, they say `agent_runner_store_up 0`."""
        return await self._scraped.get()

    async def _scrape(self) -> bytes:
        try:
            await self._read_store()
            self._store_up.set(1)
        except StoreError:
            self._store_up.set(0)
        return await asyncio.to_thread(generate_latest, self._registry)

    async def _read_store(self) -> None:
        counts = await self._store.phase_counts()
        for phase in OPEN_PHASES:
            self._open.labels(phase.name).set(counts.get(phase, 0))
        for state, count in (await self._store.schedule_states()).items():
            self._schedules.labels(state).set(count)
        self._oldest.set(await self._store.oldest_open_s())
        online = [w for w in await self._store.workers() if w.gone_at is None and w.disconnected_at is None]
        for gauge in (self._workers, self._slots, self._busy, self._hung, self._not_taking):
            gauge.clear()
        for queue, count in Tally(w.queue for w in online).items():
            self._workers.labels(queue).set(count)
            self._slots.labels(queue).set(sum(w.slots for w in online if w.queue == queue))
            self._busy.labels(queue).set(sum(w.busy for w in online if w.queue == queue))
            self._hung.labels(queue).set(sum(w.hung_threads for w in online if w.queue == queue))
            self._not_taking.labels(queue).set(sum(bool(w.not_taking) for w in online if w.queue == queue))
