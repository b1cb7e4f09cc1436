"""Why a model gave no answer, and for which reasons the next model of a run is asked in its place.

`FALLBACKS` is the table; the docs and the metric's label `cause` are made from it. A fallback is taken only while
nothing of the first model's answer was told: a reader never sees two beginnings.
"""

from dataclasses import dataclass
from enum import Enum


class ModelFailure(Enum):
    NOT_CONFIGURED = "not_configured"
    KEY_REFUSED = "key_refused"
    UNKNOWN_MODEL = "unknown_model"
    RATE_LIMITED = "rate_limited"
    PROVIDER_DOWN = "provider_down"
    UNREACHABLE = "unreachable"
    ANSWERED_BY_ANOTHER = "answered_by_another"
    BROKE_OFF = "broke_off"
    TOO_LONG = "too_long"
    REQUEST_REFUSED = "request_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """`taken`: whether the next model is asked. `why` is for readers of the docs."""

    when: str
    taken: bool
    why: str


FALLBACKS: dict[ModelFailure, Fallback] = {
    ModelFailure.NOT_CONFIGURED: Fallback(
        when="its provider has no key on this worker, its package is not installed, or its name fits no provider",
        taken=True,
        why="another provider may be set up",
    ),
    ModelFailure.KEY_REFUSED: Fallback(
        when="the provider refuses the key", taken=True, why="another provider has a key of its own"
    ),
    ModelFailure.UNKNOWN_MODEL: Fallback(
        when="the provider does not know the model", taken=True, why="models are switched off; the next one is known"
    ),
    ModelFailure.RATE_LIMITED: Fallback(
        when="the rate limit or the quota is reached, after the waits that fit into the run",
        taken=True,
        why="another model has a limit of its own",
    ),
    ModelFailure.PROVIDER_DOWN: Fallback(
        when="the provider fails on its side, also when it is asked again", taken=True, why="another one may be up"
    ),
    ModelFailure.UNREACHABLE: Fallback(
        when="no connection to the provider", taken=True, why="another one may be reached"
    ),
    ModelFailure.ANSWERED_BY_ANOTHER: Fallback(
        when="a proxy or a network answers in its place",
        taken=True,
        why="another provider may be reached on another way",
    ),
    ModelFailure.BROKE_OFF: Fallback(
        when="the answer broke off before its first words, three times", taken=True, why="nothing was told yet"
    ),
    ModelFailure.TOO_LONG: Fallback(
        when="the conversation is too long for the model",
        taken=False,
        why="the agent first shortens its conversation by itself",
    ),
    ModelFailure.REQUEST_REFUSED: Fallback(
        when="the provider refuses the request",
        taken=False,
        why="something in the request is wrong, and a person has to see it",
    ),
}
