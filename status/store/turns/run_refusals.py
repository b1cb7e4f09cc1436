"""Why a call of a worker changed nothing."""

from typing import Any

from sqlalchemy import Row

from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.run_records import Appended, RunnerVerdict


def unapplied(row: Row[Any] | None, fence: int, first: int, count: int) -> Appended:
    """Why an append did not match: not the owner, already stored, or a gap."""
    if row is None or row.fence != fence or row.step != Step.RUNNING.value:
        return Appended(verdict=RunnerVerdict.FENCED_OUT, next=0, last_seq=0, execution_id=row.id if row else "")
    if row.runner_seq < first + count:
        verdict = RunnerVerdict.GAP
    else:
        verdict = RunnerVerdict.OK if row.cancel_requested_at is None else RunnerVerdict.CANCEL
    return Appended(
        verdict=verdict,
        next=row.runner_seq,
        last_seq=row.last_seq,
        execution_id=row.id,
    )


def why_not(row: Row[Any] | None, wanted: Step) -> str:
    if row is None:
        return "no such execution"
    if row.phase >= Phase.COMPLETED:
        return f"it has ended ({Phase(row.phase).name} {row.error_code})".replace(" )", ")")
    if row.step == wanted.value:
        return f"another delivery of it runs on {row.owner_name}"
    return f"it is in step {row.step}, or its deadline has passed"
