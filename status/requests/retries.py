"""How often an execution may be tried, when, and after which failures: the annotation `agent-runner/retry`, as JSON.

    {"maximum_attempts": 3, "initial_interval_s": 1, "backoff_coefficient": 2, "maximum_interval_s": 60,
     "codes": ["E102", "E103"]}

The words are Temporal's. The pause after attempt n is `initial_interval_s * backoff_coefficient ** (n - 1)`, at most
`maximum_interval_s`. Without `codes` the failures count that the failure table (`status/failures.py`) retries by
default; with them exactly these. An agent and an execution may have the annotation: the execution's fields override the
agent's. Without any there is one attempt, and nothing is repeated.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from agent_runner.status.failures import FAILURES, RETRIED_CODES, Attempts, Code

ANNOTATION = "agent-runner/retry"
FIELDS = ("maximum_attempts", "initial_interval_s", "backoff_coefficient", "maximum_interval_s", "codes")
MOST_ATTEMPTS = 10
LEAST_PAUSE_S, LONGEST_PAUSE_S, LARGEST_COEFFICIENT = 0.1, 3600.0, 100.0
"""Without any pause a failure that comes at once would use up all attempts in a moment."""


class RetryError(ValueError):
    """The text names the field and what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`codes` None: those of the failure table's default."""

    maximum_attempts: int = 1
    initial_interval_s: float = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval_s: float = 60.0
    codes: tuple[Code, ...] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From fields that `fields_of` has checked."""
        named = given.get("codes")
        return cls(
            maximum_attempts=int(given.get("maximum_attempts", 1)),
            initial_interval_s=float(given.get("initial_interval_s", 1.0)),
            backoff_coefficient=float(given.get("backoff_coefficient", 2.0)),
            maximum_interval_s=float(given.get("maximum_interval_s", 60.0)),
            codes=None if named is None else tuple(Code.of(code) for code in named),
        )

    @classmethod
    def from_json(cls, text: str, maximum_attempts: int) -> Self:
        """What `to_json` wrote; a row of an older release has no text, and one attempt."""
        return cls.of({**(json.loads(text) if text else {}), "maximum_attempts": max(1, maximum_attempts)})

    def to_json(self) -> str:
        """Empty where nothing is ever tried again."""
        if self.maximum_attempts == 1:
            return ""
        told: dict[str, Any] = {
            "initial_interval_s": self.initial_interval_s,
            "backoff_coefficient": self.backoff_coefficient,
            "maximum_interval_s": self.maximum_interval_s,
        }
        return json.dumps(told if self.codes is None else {**told, "codes": [code.value for code in self.codes]})

    def retries(self, code: Code | None, facts: Mapping[str, Any]) -> bool:
        """Whether a failure with this code and these facts may be followed by another attempt."""
        if code is None:
            return False
        rule = FAILURES[code].attempts
        if self.codes is not None:
            return code in self.codes and rule is not Attempts.NEVER
        return rule is Attempts.BY_DEFAULT or (rule is Attempts.IF_TRANSIENT and bool(facts.get("transient")))

    def pause_s(self, attempt: int, facts: Mapping[str, Any]) -> float:
        """Seconds between the end of this attempt, counted from 1, and the next one; longer if its failure asks for
        that (`retry_after_s`)."""
        pause_s = min(self.initial_interval_s * self.backoff_coefficient ** (attempt - 1), self.maximum_interval_s)
        asked = facts.get("retry_after_s")
        return max(pause_s, float(asked)) if isinstance(asked, int | float) and math.isfinite(asked) else pause_s


def fields_of(annotation: str) -> dict[str, Any]:
    """The fields that it gives, checked. Raises RetryError."""
    if not annotation:
        return {}
    try:
        return checked(json.loads(annotation), ANNOTATION)
    except RecursionError as error:
        raise RetryError(f"{ANNOTATION} is not JSON: {error}") from None
    except RetryError:
        raise
    except ValueError as error:
        raise RetryError(f"{ANNOTATION} is not JSON: {error}") from None


def policy_of(agent: Mapping[str, str], execution: Mapping[str, str]) -> RetryPolicy:
    """From the annotations of both. Raises RetryError."""
    merged = {**fields_of(agent.get(ANNOTATION, "")), **fields_of(execution.get(ANNOTATION, ""))}
    if "maximum_interval_s" not in merged:
        merged["maximum_interval_s"] = max(60.0, merged.get("initial_interval_s", 1.0))
    return RetryPolicy.of(merged)


def checked(given: Any, where: str) -> dict[str, Any]:
    """The fields of a policy. `where` begins the text of a RetryError."""
    if not isinstance(given, dict) or given.keys() - set(FIELDS):
        raise RetryError(f"{where} must be an object with some of {', '.join(FIELDS)}")
    attempts = given.get("maximum_attempts", 1)
    whole = isinstance(attempts, int | float) and not isinstance(attempts, bool) and attempts == attempts // 1
    if not whole or not 1 <= attempts <= MOST_ATTEMPTS:
        raise RetryError(f"{where}.maximum_attempts must be a whole number from 1 to {MOST_ATTEMPTS}")
    for name, least, most in (
        ("initial_interval_s", LEAST_PAUSE_S, LONGEST_PAUSE_S),
        ("backoff_coefficient", 1.0, LARGEST_COEFFICIENT),
        ("maximum_interval_s", LEAST_PAUSE_S, LONGEST_PAUSE_S),
    ):
        value = given.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise RetryError(f"{where}.{name} must be a number from {least:g} to {most:g}")
    allowed = [code.value for code in RETRIED_CODES]
    codes = given.get("codes", allowed[:1])
    if not isinstance(codes, list) or not codes or not all(isinstance(code, str) and code in allowed for code in codes):
        raise RetryError(f"{where}.codes must be a list with some of {', '.join(allowed)}")
    return given
