"""Checks the requests of workers. A row that cannot be folded or shown would make its execution unreadable for ever.

An unknown kind of delta is taken as it is: a newer worker may report more than an older server understands.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from agent_runner.app.server.contract.json_text import read_object
from agent_runner.app.server.problems import invalid, known
from agent_runner.clients.models.prices import MOST_CURRENCY_CHARS
from agent_runner.status.failures import Code
from agent_runner.status.log.row_kinds import ROW_KINDS, Writer
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.requests.org_budgets import TOKENS, cost_in
from agent_runner.status.store.run_records import NewDelta, Outcome, RunDeltas
from agent_runner.status.usage.model_usage import Cost
from agent_runner.v1 import runner_pb2 as pb

_SERVERS_OWN = frozenset(kind.name for kind in ROW_KINDS.values() if kind.writer is Writer.SERVER)
_NEEDED: Mapping[str, tuple[str, ...]] = {
    kind.name: kind.needed for kind in ROW_KINDS.values() if kind.checked and kind.name not in _SERVERS_OWN
}
"""The kinds of deltas that a worker sends, and the fields that each must have."""
_TEXTS = (
    *("id", "text", "content", "type", "status", "name", "message", "scope", "input", "result", "error"),
    *("after", "reason"),
)
_OBJECTS = ("metadata", "args", "component")


def deltas_of(given: Iterable[pb.Delta]) -> list[NewDelta]:
    """The deltas for the store. Raises INVALID_ARGUMENT for the first one that is not valid."""
    return [
        NewDelta(kind=delta.kind, payload=delta.payload.decode(), value=value)
        for delta, value in [(delta, _value(delta)) for delta in given]
    ]


def run_deltas(run: pb.RunDeltas) -> RunDeltas:
    """What one run of an append has to say, before its token is checked. Raises INVALID_ARGUMENT."""
    deltas = deltas_of(run.deltas)
    return RunDeltas(handle=run.handle, fence=run.fence, first=run.first, deltas=deltas, head=run.head_checkpoint_id)


def outcome_of(request: pb.SettleRequest) -> Outcome:
    """Raises INVALID_ARGUMENT."""
    phase = next((phase for phase in TERMINAL_PHASES if phase == request.phase), None)
    if phase is None:
        raise invalid(f"phase: {request.phase} is not the end of an execution")
    code = known("code", Code.of, request.code) if request.code else None
    if phase is Phase.FAILED and code is None:
        raise invalid("code: FAILED needs a failure code")
    return Outcome(
        phase=phase,
        code=code,
        facts=facts_of(request.facts_json),
        waiting=request.waiting_for_input and phase is Phase.COMPLETED,
        progress=json.dumps(progress_of(request.progress) if request.HasField("progress") else {}),
        used=used_of(request.tokens),
    )


def progress_of(progress: pb.Progress) -> dict[str, Any]:
    return {
        "events_processed": progress.events_processed,
        "messages": progress.messages,
        "tool_calls": progress.tool_calls,
        "phase": progress.phase,
        **({"input_tokens": progress.input_tokens} if progress.input_tokens > 0 else {}),
        **({"output_tokens": progress.output_tokens} if progress.output_tokens > 0 else {}),
        **({"cost": cost.as_json()} if (cost := cost_of(progress)) else {}),
    }


def used_of(tokens: Iterable[pb.ModelTokens]) -> dict[str, float]:
    """What an attempt used, by the measures of `status.requests.org_budgets`."""
    used: dict[str, float] = {}
    for one in tokens:
        used[TOKENS] = used.get(TOKENS, 0.0) + max(0, one.input_tokens) + max(0, one.output_tokens)
        if cost := cost_of(one):
            measure = cost_in(cost.currency)
            used[measure] = used.get(measure, 0.0) + cost.amount
    return used


def cost_of(told: pb.Progress | pb.ModelTokens) -> Cost | None:
    """What a worker says that calls cost. None where it names no price, or an amount that is none."""
    if not told.currency or not math.isfinite(told.cost) or told.cost < 0:
        return None
    return Cost(amount=told.cost, currency=told.currency[:MOST_CURRENCY_CHARS])


def facts_of(text: str) -> dict[str, Any]:
    """Raises INVALID_ARGUMENT."""
    return read_object(text.encode(), "facts_json") if text else {}


def finite(value: float, field: str) -> float:
    """Raises INVALID_ARGUMENT for NaN and the infinities: neither SQL nor JSON has them."""
    if not math.isfinite(value):
        raise invalid(f"{field}: must be a finite number")
    return value


def _value(delta: pb.Delta) -> dict[str, Any]:
    kind = delta.kind
    if kind in _SERVERS_OWN:
        raise invalid(f"deltas: {kind!r} is told by the server, not by a worker")
    payload = read_object(delta.payload, "a delta's payload")
    if kind in _NEEDED:
        if missing := [name for name in _NEEDED[kind] if name not in payload]:
            raise invalid(f"deltas: {kind!r} without {', '.join(missing)}")
        if wrong := sorted(_wrong(payload, kind)):
            raise invalid(f"deltas: {kind!r} with another type of {', '.join(wrong)}")
    return payload


def _wrong(payload: Mapping[str, Any], kind: str) -> Iterable[str]:
    """The names of fields that do not have the type that the fold needs."""
    if kind == "output":
        return
    if kind == "question":  # its `value` may be any JSON
        yield from (name for name in ("id", "text", "node", "scope") if not isinstance(payload.get(name, ""), str))
        yield from () if isinstance(payload.get("expects", {}), dict) else ("expects",)
        return
    yield from (name for name in _TEXTS if name in payload and not isinstance(payload[name], str))
    yield from (name for name in _OBJECTS if not isinstance(payload.get(name) or {}, dict))
    component = payload.get("component") or {}
    if isinstance(component, dict) and not isinstance(component.get("metadata") or {}, dict):
        yield "component.metadata"
    if kind == "history" and not (type(payload["kept"]) is int and payload["kept"] >= 0):
        yield "kept"
    if kind == "todos" and not _are_todos(payload["todos"]):
        yield "todos"


def _are_todos(todos: Any) -> bool:
    return isinstance(todos, list) and all(
        isinstance(todo, dict) and isinstance(todo.get("content"), str) and isinstance(todo.get("status"), str)
        for todo in todos
    )
