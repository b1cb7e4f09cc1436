"""The time line of an execution: what it waited for, its run, and the calls inside it as spans; moments as marks.

It is made of the row and the folded log, at any time of an execution's life. A span without an end goes on. The span of
a model begins with the first piece of its answer: what the log holds, not the request.
"""

from typing import Any

from agent_runner.app.server.http.document.schemas import STRING, Schema, object_of
from agent_runner.status.log.log import State, rfc3339
from agent_runner.status.phases import TERMINAL_PHASES, Phase, Step
from agent_runner.status.store.records import Execution

Json = dict[str, Any]
QUEUE, ENSURE_THREAD, RUN = "queue", "ensure_thread", "run"
MOST_SPANS = 5000
"""The newest calls of a run that has more."""
_DONE = {"TOOL_CALL_COMPLETED": "completed", "SUB_AGENT_COMPLETED": "completed"}
_FAILED = {"TOOL_CALL_FAILED", "SUB_AGENT_FAILED"}


def time_line(execution: Execution, state: State) -> Json:
    spans = [*_before(execution), *_run(execution, state)]
    if execution.claimed_at is not None:
        calls = sorted([*_calls(state), *_models(execution, state)], key=lambda span: str(span["start"]))
        spans += calls[-MOST_SPANS:]
    return {"spans": spans, "marks": _marks(execution, state)}


def _before(execution: Execution) -> list[Json]:
    since = execution.dispatchable_at
    if since is None:
        waits = execution.phase not in TERMINAL_PHASES
        return [_span(QUEUE, "behind another execution of its session", QUEUE, execution.created_at,
                      None if waits else execution.completed_at)]  # fmt: skip
    taken = execution.claimed_at or execution.completed_at
    queue = _span(QUEUE, execution.runner_queue, QUEUE, since, taken)
    behind = since - execution.created_at
    if behind > 0.001:
        queue["behindSeconds"] = round(behind, 3)
    if execution.step in (Step.WAITING, Step.ENSURE_THREAD):
        return [queue]
    ready = None if execution.step is Step.THREAD_STARTED else execution.dispatched_at
    if ready is not None and taken is not None:
        ready = min(ready, taken)
    return [queue, _span(ENSURE_THREAD, "EnsureThread", ENSURE_THREAD, since, ready, parent=QUEUE)]


def _run(execution: Execution, state: State) -> list[Json]:
    if execution.claimed_at is None:
        return []
    first = state.started_at if execution.attempt > 1 else None
    run = _span(RUN, execution.graph or "run", RUN, first or execution.claimed_at, execution.completed_at)
    run["state"] = execution.phase.name.lower()
    return [run | {"attempt": execution.attempt}]


def _calls(state: State) -> list[Json]:
    spans = []
    for key in state.listed:
        call = state.tool_calls.get(key, {})
        sub = state.sub_agents.get(key)
        scope = (call.get("component") or {}).get("metadata", {}).get("scope", "")
        kind, name = ("sub_agent", sub.get("name")) if sub else ("tool", call.get("name"))
        end = (sub or call).get("completed_at")
        span = _span(kind, name or kind, key, call.get("started_at"), end, parent=_parent(scope))
        status = str((sub or call).get("status", ""))
        spans.append(span | {"state": _DONE.get(status, "failed" if status in _FAILED else "open")})
    return [span for span in spans if span["start"]]


def _models(execution: Execution, state: State) -> list[Json]:
    spans = []
    for message in state.messages.values():
        if message["type"] != "MESSAGE_AI":
            continue
        metadata = message["metadata"]
        end = message.get("ended_at") or execution.completed_at
        parent = _parent(str(metadata.get("scope", "")))
        span = _span("model", str(metadata.get("model") or "model"), message["id"], message["at"], end, parent=parent)
        spans.append(span | ({"tokens": usage} if (usage := _usage(metadata)) else {}))
    return [span for span in spans if span["start"]]


def _usage(metadata: Json) -> Json:
    used = metadata.get("usage") or {}
    return {kind: used[f"{kind}_tokens"] for kind in ("input", "output") if isinstance(used.get(f"{kind}_tokens"), int)}


def _parent(scope: str) -> str:
    """The scope of a sub-agent is the ids of the calls that it stands below; the last one is its own."""
    return scope.rpartition("/")[2] or RUN


def _marks(execution: Execution, state: State) -> list[Json]:
    marks = [_mark("phase", Phase.PENDING.wire_name, execution.created_at)]
    if execution.claimed_at is not None:
        marks.append(_mark("phase", Phase.IN_PROGRESS.wire_name, execution.claimed_at))
    if execution.completed_at is not None:
        marks.append(_mark("phase", execution.phase.wire_name, execution.completed_at))
        marks += [_mark("question", "question", execution.completed_at) for _ in state.questions]
    if execution.cancel_requested_at is not None:
        marks.append(_mark("cancel", "cancel requested", execution.cancel_requested_at))
    if execution.last_beat_at is not None:
        marks.append(_mark("heartbeat", "last heartbeat", execution.last_beat_at))
    return marks + _deadlines(execution)


def _deadlines(execution: Execution) -> list[Json]:
    """Those that count now. An execution that has ended has none."""
    given, step = execution.timeouts, execution.step
    if step is Step.SETTLED:
        return []
    clocks: list[tuple[str, float | None, float]] = []
    if step is Step.WAITING:
        clocks.append(("thread_wait", max(execution.created_at, execution.not_before), given.thread_wait_s))
    if step in (Step.ENSURE_THREAD, Step.EXECUTE):
        clocks.append(("schedule_to_start", execution.dispatched_at, given.schedule_to_start_s))
    if step is Step.RUNNING:
        clocks.append(("start_to_close", execution.claimed_at, given.start_to_close_s))
        clocks.append(("heartbeat", execution.last_beat_at, given.heartbeat_s))
    clocks.append(("schedule_to_close", execution.dispatchable_at, given.schedule_to_close_s))
    return [_mark("deadline", name, since + within) for name, since, within in clocks if since is not None]


def _span(kind: str, name: str, id: str, start: Any, end: Any, *, parent: str = "") -> Json:
    span: Json = {"kind": kind, "name": name, "id": id, "start": _time(start)}
    if end:
        span["end"] = _time(end)
    if parent:
        span["parentId"] = parent
    return span | {"state": "completed" if end else "open"}


def _mark(kind: str, name: str, at: float) -> Json:
    return {"kind": kind, "name": name, "at": rfc3339(at)}


def _time(at: Any) -> str:
    """Times are epoch seconds, or the text of another runner."""
    return rfc3339(at) if isinstance(at, int | float) and at else str(at or "")


_AT: Schema = {"type": "string", "format": "date-time"}
_SPAN: Schema = object_of(
    kind={"enum": [QUEUE, ENSURE_THREAD, RUN, "tool", "sub_agent", "model"]}, name=STRING, id=STRING, start=_AT,
    state={"enum": ["open", "completed", "failed", "pending", "in_progress", "cancelled"]},
)  # fmt: skip
_SPAN["properties"] |= {
    "end": {**_AT, "description": "missing: it goes on"},
    "parentId": {**STRING, "description": "the span that it is a part of"},
    "attempt": {"type": "integer"},
    "behindSeconds": {"type": "number", "description": "how long it stood behind another execution of its session"},
    "tokens": {"type": "object", "additionalProperties": {"type": "integer"}},
}
_MARK: Schema = object_of(kind={"enum": ["phase", "deadline", "heartbeat", "question", "cancel"]}, name=STRING, at=_AT)
TIME_LINE: Schema = object_of(spans={"type": "array", "items": _SPAN}, marks={"type": "array", "items": _MARK})
