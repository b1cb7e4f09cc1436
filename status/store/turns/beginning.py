"""Where a run begins in the memory of its session, as far as the store knows."""

from typing import Any

from sqlalchemy import Row

from agent_runner.status.store.run_records import WHAT_IS_FOUND


def is_repeated(row: Row[Any]) -> bool:
    """An attempt before this one had been claimed, so memory may have something of it. `row`: after the claim, which
    raised the fence."""
    return bool(row.attempt > 1 and row.fence > 1)


def untold_by(row: Row[Any], previous: Row[Any] | None) -> str:
    """The execution whose worker may have written more than it reported: the one before, if the server ended it, or the
    run itself in its next attempt; empty for a run that begins before that one."""
    if row.resumable:
        return ""
    if is_repeated(row):
        return str(row.redriven_from if row.resume_checkpoint_id == WHAT_IS_FOUND else row.id)
    if previous is None or previous.settled_fence:
        return ""
    return str(previous.id) if row.resume_checkpoint_id or not row.redriven_from else ""
