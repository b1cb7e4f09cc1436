"""The `Brief` of each execution of a list, from the first and the last rows of its log; the rest is not read."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, or_, select

from agent_runner.status.brief import Brief, content_of, short, short_error
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.schema import execution_log, executions

FIRST_CHARS = 2048
"""How much of the first row (the user's message) is read. Short fields come first; an escape takes up to six."""
LAST_ROWS = 16
"""These rows of the log say how an execution ended."""
LAST_CHARS = 64 * 1024


def briefs(connection: Connection, handles: Sequence[int]) -> list[Brief]:
    """One `Brief` for each handle, with two statements."""
    e, log = executions.c, execution_log.c
    first = select(log.handle, func.substr(log.payload, 1, FIRST_CHARS).label("payload"))
    said = {
        row.handle: content_of(row.payload)
        for row in connection.execute(first.where(log.handle.in_(handles), log.seq == 1))
    }
    last = (
        select(log.handle, log.kind, log.at, log.payload)
        .join(executions, e.handle == log.handle)
        .where(
            e.handle.in_(handles),
            log.seq > e.last_seq - LAST_ROWS,
            or_(log.kind == "phase", log.kind == "incomplete"),
            func.length(log.payload) <= LAST_CHARS,
        )
        .order_by(log.handle, log.seq)
    )
    error: dict[int, str] = {}
    at: dict[int, float] = {}
    incomplete: dict[int, dict[str, str]] = {}
    for row in connection.execute(last):
        told: dict[str, Any] = json.loads(row.payload)
        if row.kind == "incomplete":
            incomplete[row.handle] = {name: short(str(told.get(name, ""))) for name in ("reason", "text")}
        else:
            at[row.handle] = row.at
            error[row.handle] = short_error(told.get("error") or "") or error.get(row.handle, "")
    return [
        Brief(said=said.get(h, ""), error=error.get(h, ""), told_at=at.get(h, 0.0), incomplete=incomplete.get(h, {}))
        for h in handles
    ]
