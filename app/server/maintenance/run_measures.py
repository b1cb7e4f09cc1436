"""Metrics of runs, counted where their workers report: how long they waited and ran, what they said, their tokens."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from agent_runner.app.server.runners.runner_requests import cost_of
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import NewDelta
from agent_runner.v1 import runner_pb2 as pb

WAIT_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
RUN_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
MOST_MODELS, MOST_CURRENCIES = 100, 10
OTHER = "other"
"""Stands for the models after the first `MOST_MODELS`, so that callers cannot make series without end."""
MODEL_CHARS = 100
KEPT_ENDS = 1000


class RunMeasures:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._wait = Histogram(
            "agent_runner_wait_seconds",
            "From the moment when a worker could take an execution to the claim of its first attempt",
            ["queue"],
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self._run = Histogram(
            "agent_runner_run_seconds",
            "From the claim to the end that the worker reported",
            ["phase"],
            buckets=RUN_BUCKETS,
            registry=registry,
        )
        self._tokens = Counter(
            "agent_runner_tokens",
            "Tokens of runs whose worker reported their end, by model and kind",
            ["model", "kind"],
            registry=registry,
        )
        self._cost = Counter(
            "agent_runner_cost",
            "What these tokens cost, by model and currency; models without a price have no series",
            ["model", "currency"],
            registry=registry,
        )
        self._currencies: set[str] = set()
        self._bytes = Counter(
            "agent_runner_log_bytes", "Bytes of what runs said, as it is stored in their logs", registry=registry
        )
        self._models: set[str] = set()
        self._last: dict[int, int] = {}
        """The fences of the last ends, by handle: a repeated settle counts once."""

    def claimed(self, execution: Execution) -> None:
        if execution.attempt <= 1 and execution.claimed_at and execution.dispatchable_at is not None:
            waited_s = execution.claimed_at - execution.dispatchable_at
            self._wait.labels(execution.runner_queue).observe(max(0.0, waited_s))

    def settled(self, execution: Execution, fence: int, request: pb.SettleRequest) -> None:
        """`fence`: of the attempt that the settle is about."""
        if self._last.get(execution.handle) == fence:
            return
        self._last[execution.handle] = fence
        while len(self._last) > KEPT_ENDS:
            del self._last[next(iter(self._last))]
        if execution.claimed_at is not None and execution.completed_at is not None:
            ran_s = execution.completed_at - execution.claimed_at
            self._run.labels(execution.phase.name).observe(max(0.0, ran_s))
        self._bytes.inc(sum(len(delta.payload) for delta in request.deltas))
        for used in request.tokens:
            model = self._known(used.model[:MODEL_CHARS])
            self._tokens.labels(model, "input").inc(max(0, used.input_tokens))
            self._tokens.labels(model, "output").inc(max(0, used.output_tokens))
            if (cost := cost_of(used)) and self._is_known(cost.currency):
                self._cost.labels(model, cost.currency).inc(cost.amount)

    def said(self, deltas: Iterable[NewDelta]) -> None:
        self._bytes.inc(sum(len(delta.payload) for delta in deltas))

    def _is_known(self, currency: str) -> bool:
        """Sums of several currencies would mean nothing, so those after `MOST_CURRENCIES` are not counted."""
        if len(self._currencies) < MOST_CURRENCIES:
            self._currencies.add(currency)
        return currency in self._currencies

    def _known(self, model: str) -> str:
        if model not in self._models:
            if len(self._models) >= MOST_MODELS:
                return OTHER
            self._models.add(model)
        return model
