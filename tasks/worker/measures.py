"""The metrics of one worker process, for Prometheus, on a port of its own. Off unless a port is set.

The registry is the process's own. Processes of a prefork pool, and several workers of one machine, each take the next
free port from the one that is set.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from agent_runner.clients.models.order.model_call import FailedModel

log = event_logger(__name__)
PORTS = 64
FLUSH_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Measures:
    """`serve` opens the port, `close` closes it. `flushed` is called for each answered send of the flusher."""

    def __init__(self, *, busy: Callable[[], int], lag_s: Callable[[], float], slots: int) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry: CollectorRegistry = CollectorRegistry()
        self._flush = Histogram(
            "agent_runner_worker_flush_seconds",
            "From a send of what runs say to the server's answer",
            buckets=FLUSH_BUCKETS,
            registry=self.registry,
        )
        self._bytes = Counter("agent_runner_worker_sent_bytes", "Bytes of these sends", registry=self.registry)
        self._failed = Counter(
            "agent_runner_worker_models_failed",
            "Models that gave no answer, so that the next one of their agent was asked",
            ["cause"],
            registry=self.registry,
        )
        for name, text, read in (
            ("slots", "Runs that fit into this process", lambda: slots),
            ("busy", "Runs of this process", busy),
            ("loop_lag_seconds", "Since the agents' loop last ticked", lag_s),
        ):
            gauge = Gauge(f"agent_runner_worker_{name}", text, registry=self.registry)
            gauge.set_function(read)
        self._server: Any = None
        self.port = 0

    def flushed(self, took_s: float, size: int) -> None:
        self._flush.observe(took_s)
        self._bytes.inc(size)

    def model_failed(self, failed: "FailedModel") -> None:
        self._failed.labels(failed.cause.value).inc()

    def serve(self, address: str, port: int) -> bool:
        """Takes the first free port of `PORTS`. A worker works without its metrics, too."""
        from prometheus_client import start_http_server

        failed: OSError | None = None
        for number in range(port, min(port + PORTS, 1 << 16)):
            try:
                self._server, _ = start_http_server(number, address, self.registry)
            except OSError as error:
                failed = error
            else:
                self.port = number
                log.info("metrics.served", address=address, port=number)
                return True
        log.warning("metrics.not_served", address=address, port=port, error=failed)
        return False

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
