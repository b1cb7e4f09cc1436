"""One call of a model, as the code below it sees it: what failed before it, and whether its answer has begun."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from agent_runner.status.requests.model_failures import ModelFailure

FELL_BACK = "fell_back_from"
"""The key in a message's `response_metadata`: the models that were asked before the one that gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedModel:
    """A model that gave no answer. `text` names the cause and has the provider's words."""

    model: str
    cause: ModelFailure
    text: str
    advice: str
    passes: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ModelCall:
    """One call of a model. `told`: something of its answer was passed on. `failed`: those that were asked before."""

    told: bool = False
    failed: tuple[FailedModel, ...] = ()

    def shown(self) -> list[dict[str, str]]:
        return [{"model": one.model, "cause": one.cause.value} for one in self.failed]


_call: ContextVar[ModelCall | None] = ContextVar("model_call", default=None)


def current_call() -> ModelCall | None:
    """The call that the current code answers; None where no fallback is possible."""
    return _call.get()


_time_left: ContextVar[Callable[[], float]] = ContextVar("time_left", default=lambda: math.inf)


def time_left_s() -> float:
    """Seconds that the current run has; without end outside of one."""
    return _time_left.get()()


@contextmanager
def bounded_by(left_s: Callable[[], float]) -> Iterator[None]:
    """Calls of models inside the block wait for no provider longer than `left_s` says."""
    token = _time_left.set(left_s)
    try:
        yield
    finally:
        _time_left.reset(token)


@contextmanager
def answering(call: ModelCall) -> Iterator[None]:
    """Make `call` the current one inside the block."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)
