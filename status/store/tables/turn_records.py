"""How far the orgs of a queue have come in their turns, and the indexes that find the executions that wait for one."""

from sqlalchemy import Column, Double, Index, String, Table, text

from agent_runner.status.store.tables.columns import OPEN, metadata

READY = text("ready_at > 0")
"""Its session is free, and it waits for its org's turn."""
ADMITTED = text(f"dispatchable_at is not null and {OPEN.text}")
"""It has had its turn and has not ended."""

org_turns = Table(
    "org_turns",
    metadata,
    Column("queue", String, primary_key=True),
    Column("org", String, primary_key=True),
    Column("began", Double, nullable=False),
    Column("passed", Double, nullable=False),
)
"""`began`: where on the queue's clock the org's last turn began; the greatest is the clock. `passed`: where its next
one may begin."""


def index_turns(executions: Table) -> None:
    """Declares the indexes of that table."""
    c = executions.c
    order = (c.runner_queue, c.org, c.priority.desc(), c.handle)
    Index("ix_executions_ready", *order, sqlite_where=READY, postgresql_where=READY)
    Index("ix_executions_admitted", c.runner_queue, c.org, c.step, sqlite_where=ADMITTED, postgresql_where=ADMITTED)
