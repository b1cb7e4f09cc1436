"""How many of the cases that schemathesis makes are sent, and what of them was sent so far."""

import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

SENT = "sent: "
"""A line of the standard error that begins so says what was sent to one operation."""
CHAINS = "chains of operations"
"""What the phase `stateful` sends: told as one, because each next request is to another operation."""
ENDLESS = frozenset(
    {"GET /v1/executions/changes", "POST /threads/{thread_id}/stream/events", "GET /threads/{thread_id}/stream"}
)
"""Streams that end with their reader; `schemathesis.toml` says how long each is read."""


@dataclass(slots=True)
class Thinning:
    """The phase `coverage` makes every case that a schema has: 19,000 of them, 1,500 for the largest body, half of
    which only have another wrong type in another place.

    Of each kind of case the first `of_a_kind` are sent, and of those that follow fewer the more there are: twenty of a
    thousand where two are sent of two. 0: all of them. The same seed chooses the same ones.
    """

    of_a_kind: int
    seed: int
    _made: Counter[Hashable] = field(default_factory=Counter)

    def sends(self, kind: Hashable) -> bool:
        """Whether the next case of this kind is sent."""
        self._made[kind] += 1
        number = self._made[kind]
        return not self.of_a_kind or _chance(f"{self.seed} {kind} {number}") < self.of_a_kind / number


def _chance(text: str) -> float:
    """From 0 to 1, the same one for the same text."""
    return zlib.crc32(text.encode()) / 2**32


@dataclass(slots=True)
class Progress:
    """One line for each operation and phase, when the next one begins: a run that was cut tells what it reached."""

    tell: Callable[[str], None] = lambda line: print(SENT + line, file=sys.stderr, flush=True)
    _phase: str = ""
    _operation: str = ""
    _began: float = 0.0
    _answers: Counter[int] = field(default_factory=Counter)

    def count(self, phase: str, operation: str, status: int) -> None:
        """No phase: a request that a check makes by itself, about the case before."""
        phase = phase or self._phase
        operation = CHAINS if phase == "stateful" else operation
        if (phase, operation) != (self._phase, self._operation):
            self.close()
            self._phase, self._operation, self._began = phase, operation, time.monotonic()
        self._answers[status] += 1

    def close(self) -> None:
        """The last operation is told too."""
        if self._answers:
            took = time.monotonic() - self._began
            statuses = ", ".join(f"{number} x {status}" for status, number in sorted(self._answers.items()))
            place = f"{self._phase:<8} {self._operation}"
            self.tell(f"{place}: {self._answers.total()} in {took:.1f} s ({statuses})")
            self._answers.clear()
