"""The server's metrics, for Prometheus. The numbers of the store are read at the scrape."""

import asyncio
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from contextlib import suppress

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.http.shared_answer import Fresh
from agent_runner.clients.broker.publisher import PublishError
from agent_runner.status.phases import Phase
from agent_runner.status.store.errors import StoreError
from agent_runner.status.store.records import Worker

BROKER_WITHIN_S = 1.0
MOST_QUEUES, MOST_WORKERS, MOST_BUDGETS = 20, 200, 200
"""So many have series of their own."""
WORKER_GAUGES = {
    "slots": "Slots of this process",
    "busy": "Slots of it in use",
    "loop_lag_seconds": "Since its agents' loop last ticked, as it last said",
    "last_seen_seconds": "Since it was last heard of",
}
OPEN_PHASES = (Phase.PENDING, Phase.IN_PROGRESS)


class Metrics:
    content_type = CONTENT_TYPE_LATEST

    def __init__(self, ctx: ServerContext) -> None:
        self._store, self._dispatcher = ctx.store, ctx.dispatcher
        self._takes_turns = ctx.settings.turns.on
        self._queues = (ctx.settings.runner_queue, ctx.settings.orchestrator_queue)
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
        self._waiting = Gauge(
            "agent_runner_queue_waiting", "Executions that a worker could take now", ["queue"], registry=kept
        )
        self._waited = Gauge(
            "agent_runner_queue_oldest_waiting_seconds",
            "How long the oldest of them has waited; 0 when none waits",
            ["queue"],
            registry=kept,
        )
        self._turns = Gauge(
            "agent_runner_turn_waiting", "Executions that wait for their org's turn", ["queue"], registry=kept
        )
        self._turn_waited = Gauge(
            "agent_runner_turn_oldest_waiting_seconds",
            "How long the oldest of them has waited; 0 when none waits",
            ["queue"],
            registry=kept,
        )
        budget = ["org", "window", "measure"]
        self._budget_used = Gauge(
            "agent_runner_org_budget_used", "Used in the present window of a budget", budget, registry=kept
        )
        self._budget_limit = Gauge("agent_runner_org_budget_limit", "What the budget allows", budget, registry=kept)
        self._depth = Gauge(
            "agent_runner_broker_queue_depth",
            "Messages on the broker's queue; missing while the broker does not answer",
            ["queue"],
            registry=kept,
        )
        self._of_workers = {
            name: Gauge(f"agent_runner_worker_process_{name}", text, ["worker", "queue"], registry=kept)
            for name, text in WORKER_GAUGES.items()
        }
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
        self._tell_workers(online, await self._store.now())
        ages = {age.queue: age for age in await self._store.queue_ages(org="")}
        for gauge in (self._waiting, self._waited):
            gauge.clear()
        for queue in {*self._queues, *(w.queue for w in online if w.role == "worker"), *ages}:
            self._waiting.labels(queue).set(ages[queue].waiting if queue in ages else 0)
            self._waited.labels(queue).set(ages[queue].oldest_s if queue in ages else 0)
        await self._read_turns()
        await self._read_budgets()
        await self._read_depths({*self._queues, *(w.queue for w in online)})

    async def _read_turns(self) -> None:
        """No series where orgs do not take turns."""
        for gauge in (self._turns, self._turn_waited):
            gauge.clear()
        standings = await self._store.turn_standings(org="") if self._takes_turns else ()
        for queue in {one.queue for one in standings}:
            of = [one for one in standings if one.queue == queue]
            self._turns.labels(queue).set(sum(one.ready for one in of))
            self._turn_waited.labels(queue).set(max(one.oldest_s for one in of))

    async def _read_budgets(self) -> None:
        """No series where no org has a budget."""
        for gauge in (self._budget_used, self._budget_limit):
            gauge.clear()
        for use in (await self._store.org_uses(org=""))[:MOST_BUDGETS]:
            for measure, limit in use.budget.limits.items():
                names = (use.org, use.budget.window, measure)
                self._budget_used.labels(*names).set(use.used.get(measure, 0.0))
                self._budget_limit.labels(*names).set(limit)

    def _tell_workers(self, online: Sequence[Worker], now: float) -> None:
        for gauge in self._of_workers.values():
            gauge.clear()
        for one in online[:MOST_WORKERS]:
            name = (one.name or one.incarnation, one.queue)
            self._of_workers["slots"].labels(*name).set(one.slots)
            self._of_workers["busy"].labels(*name).set(one.busy)
            self._of_workers["loop_lag_seconds"].labels(*name).set(one.loop_lag_s)
            self._of_workers["last_seen_seconds"].labels(*name).set(max(0.0, now - one.last_seen_at))

    async def _read_depths(self, queues: Iterable[str]) -> None:
        """A broker that is away costs a scrape `BROKER_WITHIN_S` and no more, however many queues there are."""
        self._depth.clear()
        with suppress(TimeoutError, PublishError):
            async with asyncio.timeout(BROKER_WITHIN_S):
                for queue in sorted(queues)[:MOST_QUEUES]:
                    depth = await self._dispatcher.depth(queue)
                    self._depth.labels(queue).set(depth)
