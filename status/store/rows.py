"""From rows to records, and the JSON text of columns."""

import json
from operator import attrgetter
from typing import Any

from sqlalchemy import Row

from agent_runner.status.phases import Phase, Step
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.store.records import Execution, Resource, ResourceKind, Worker
from agent_runner.status.store.schema import executions
from agent_runner.status.timeouts import Timeouts

dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
LIMITS = tuple(c.name for c in executions.c if c.name.startswith("limit_"))


def limits_of(timeouts: Timeouts) -> dict[str, float]:
    """The `limit_*` columns of an execution under these timeouts."""
    return {name: getattr(timeouts, f"{name.removeprefix('limit_')}_s") for name in LIMITS}


def to_execution(row: Any) -> Execution:
    """`row`: all columns of `executions`, by their names."""
    return Execution(
        **dict(zip(_COPIED, _copied(row), strict=True)),
        spec=json.loads(row.spec),
        phase=Phase(row.phase),
        step=Step(row.step),
        timeouts=Timeouts(**dict(zip(_TIMEOUTS, _limits(row), strict=True))),
        progress=json.loads(row.progress) if row.progress != "{}" else {},
        retry=RetryPolicy.from_json(row.retry, row.max_attempts),
        idempotency_key=row.idempotency_key or "",
        base_checkpoint_id=row.base_checkpoint_id if row.base_given else None,
        sealed_env=row.sealed_env or b"",
    )


_MADE = {
    *("spec", "phase", "step", "timeouts", "retry", "progress"),
    *("idempotency_key", "sealed_env", "base_checkpoint_id"),
}
_COPIED = tuple(name for name in Execution.__dataclass_fields__ if name not in _MADE)
_copied = attrgetter(*_COPIED)
_TIMEOUTS = tuple(f"{name.removeprefix('limit_')}_s" for name in LIMITS)
_limits = attrgetter(*LIMITS)


def to_worker(row: Row[Any]) -> Worker:
    return Worker(**{name: row._mapping[name] for name in Worker.__dataclass_fields__})


def to_resource(row: Any) -> Resource:
    copied = {name: getattr(row, name) for name in ("id", "org", "slug", "parent_id", "created_at", "version")}
    return Resource(kind=ResourceKind(row.kind), body=json.loads(row.body), **copied)
