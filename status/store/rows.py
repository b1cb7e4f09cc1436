"""From rows to records."""

import json
from typing import Any

from sqlalchemy import Row

from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.records import Execution, Resource, ResourceKind, Worker
from agent_runner.status.store.schema import executions
from agent_runner.status.timeouts import Timeouts

LIMITS = tuple(c.name for c in executions.c if c.name.startswith("limit_"))


def limits_of(timeouts: Timeouts) -> dict[str, float]:
    """The `limit_*` columns of an execution under these timeouts."""
    return {name: getattr(timeouts, f"{name.removeprefix('limit_')}_s") for name in LIMITS}


def to_execution(row: Row[Any]) -> Execution:
    r = row._mapping
    return Execution(
        **{name: r[name] for name in _COPIED},
        spec=json.loads(r["spec"]),
        phase=Phase(r["phase"]),
        step=Step(r["step"]),
        timeouts=Timeouts(**{f"{n.removeprefix('limit_')}_s": r[n] for n in LIMITS}),
        progress=json.loads(r["progress"]),
        idempotency_key=r["idempotency_key"] or "",
        base_checkpoint_id=r["base_checkpoint_id"] if r["base_given"] else None,
        sealed_env=r["sealed_env"] or b"",
    )


_MADE = {"spec", "phase", "step", "timeouts", "progress", "idempotency_key", "sealed_env", "base_checkpoint_id"}
_COPIED = tuple(name for name in Execution.__dataclass_fields__ if name not in _MADE)


def to_worker(row: Row[Any]) -> Worker:
    return Worker(**{name: row._mapping[name] for name in Worker.__dataclass_fields__})


def to_resource(row: Row[Any]) -> Resource:
    r = row._mapping
    copied = {name: r[name] for name in ("id", "org", "slug", "parent_id", "created_at", "version")}
    return Resource(kind=ResourceKind(r["kind"]), body=json.loads(r["body"]), **copied)
