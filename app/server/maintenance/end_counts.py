"""Metrics of ends: a count by phase and code, and the delay from a deadline to the sweeper's write."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from agent_runner.app.server.maintenance.run_measures import RunMeasures
from agent_runner.app.server.schedules.firing_counts import FiringCounts
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import RETRIED_CODES, Code
from agent_runner.status.phases import Phase
from agent_runner.status.requests.webhooks import EVENTS
from agent_runner.status.store.turns.webhook_calls import DELIVERED, GIVEN_UP

log = event_logger(__name__)
DELAY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60)


class Ends:
    """Counts the ends that this server wrote. `registry` also holds the server's other metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.firings = FiringCounts(self.registry)
        self._ended = Counter(
            "agent_runner_executions_ended", "Executions that ended", ["phase", "code"], registry=self.registry
        )
        self._retried = Counter(
            "agent_runner_attempts_retried",
            "Failed attempts that another one follows",
            ["code"],
            registry=self.registry,
        )
        self.purged = Counter(
            "agent_runner_executions_purged", "Executions removed because they ended long ago", registry=self.registry
        )
        self._delay = Histogram(
            "agent_runner_detection_delay_seconds",
            "From the deadline that passed to the terminal write",
            ["code"],
            buckets=DELAY_BUCKETS,
            registry=self.registry,
        )
        self.runs = RunMeasures(self.registry)
        self.webhooks = Counter(
            "agent_runner_webhook_calls",
            "Calls of webhooks, by what became of the try",
            ["event", "outcome"],
            registry=self.registry,
        )
        for event in EVENTS:
            for outcome in (DELIVERED, "failed", GIVEN_UP):
                self.webhooks.labels(event, outcome)
        # Every code is there from the start: an alert on a series that does not exist never fires.
        self._ended.labels(Phase.COMPLETED.name, "")
        for code in Code:
            phase = Phase.CANCELLED if code is Code.CANCELLED else Phase.FAILED
            if code is not Code.BROKER_UNAVAILABLE:
                self._ended.labels(phase.name, code.value)
            if code in RETRIED_CODES:
                self._retried.labels(code.value)

    def count(self, phase: Phase, code: Code | None, late_s: float | None) -> None:
        """Counts one terminal write of this server. `late_s` is given if a deadline was the reason."""
        name = code.value if code else ""
        self._ended.labels(phase.name, name).inc()
        if late_s is not None:
            self._delay.labels(name).observe(max(0.0, late_s))

    def retried(self, execution_id: str, attempt: int, code: Code, pause_s: float) -> None:
        """Counts one failed attempt, and says it in the log."""
        self._retried.labels(code.value).inc()
        log.warning("attempt.failed", execution_id=execution_id, attempt=attempt, code=code.value, pause_s=pause_s)
