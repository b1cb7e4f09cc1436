"""What Flower makes of the events of tasks, so that its states and counts are those of the executions.

Celery lets a custom state (PROGRESS) win against REVOKED, and counts each event. But the end of one execution may be
told more than once: by its worker, by the server when the worker is gone, and by the copy of a message. So here

    PROGRESS              is no later than STARTED: a revoked run is REVOKED
    a cancelled run       is told as `task-failed`, which other tools understand; it is made a `task-revoked`
    an ended task         stays as it ended
    a failed execution    counts once, whichever of its two tasks told it first
"""

from collections import OrderedDict
from typing import Any

from celery import states
from flower.events import EventsState

PROGRESS = "PROGRESS"
REVOKED_AS_FAILED = "TaskRevokedError("
ENDS = frozenset({"task-succeeded", "task-failed", "task-revoked"})
BAD_ENDS = frozenset({"task-failed", "task-revoked"})
MOST_REMEMBERED = 100_000


class TrueEvents(EventsState):  # type: ignore[misc]
    """`EventsState` of Flower, which is created and used on its event loop only."""

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._bad: OrderedDict[str, None] = OrderedDict()
        """Executions of which a bad end was counted."""

    def event(self, event: dict[str, Any]) -> None:
        kind, uuid = event["type"], str(event.get("uuid") or "")
        if kind == "task-failed" and str(event.get("exception")).startswith(REVOKED_AS_FAILED):
            kind = "task-revoked"
            event = {**event, "type": kind, "terminated": True, "expired": False, "signum": None}
        if kind not in ENDS:
            super().event(event)
            return
        known = self.tasks.get(uuid)
        if known is not None and known.state in states.READY_STATES:
            return
        super().event(event)
        if kind in BAD_ENDS and not self._first_bad_end(uuid):
            self.counter[event["hostname"]][kind] -= 1

    def _first_bad_end(self, uuid: str) -> bool:
        execution_id = uuid.rpartition(":")[0] or uuid
        first = execution_id not in self._bad
        self._bad[execution_id] = None
        if len(self._bad) > MOST_REMEMBERED:
            self._bad.popitem(last=False)
        return first


def install() -> None:
    """Have Flower use it. Call it before Flower's application is made."""
    import flower.events

    flower.events.EventsState = TrueEvents
    states.PRECEDENCE_LOOKUP[PROGRESS] = states.PRECEDENCE_LOOKUP["STARTED"] - 0.5  # type: ignore[assignment]
