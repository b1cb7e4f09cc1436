"""Metrics of firings: how many by outcome, and how late they were."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from agent_runner.status.schedules.schedule import FiringOutcome

BUCKETS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


class FiringCounts:
    """Counts what this server wrote into the histories of schedules."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._firings = Counter(
            "agent_runner_schedule_firings", "Times of schedules, by what came of them", ["outcome"], registry=registry
        )
        self._late = Histogram(
            "agent_runner_schedule_delay_seconds",
            "From the time that a schedule fired for to its execution",
            buckets=BUCKETS,
            registry=registry,
        )
        for outcome in FiringOutcome:  # an alert on a series that does not exist never fires
            self._firings.labels(outcome.value)

    def count(self, outcome: FiringOutcome) -> None:
        self._firings.labels(outcome.value).inc()

    def late(self, seconds: float) -> None:
        self._late.observe(max(0.0, seconds))
