"""The calls of webhooks that are to be made, and what became of them. They are deleted with their execution."""

from sqlalchemy import Column, ForeignKey, Index, String, Table, UniqueConstraint, text

from agent_runner.status.store.tables.columns import (
    Big,
    count_column,
    due_column,
    metadata,
    seconds_column,
    text_column,
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column(
        "handle",
        Big,
        ForeignKey("executions.handle", name="fk_webhook_deliveries_handle", ondelete="CASCADE"),
        nullable=False,
    ),
    text_column("event"),
    seconds_column("at"),
    due_column("due_at"),
    count_column("tries"),
    text_column("outcome"),
    UniqueConstraint("handle", "event"),
)
"""`at`: when the event happened. `outcome`: empty until it was answered (`delivered`) or given up (`given_up`)."""
_OPEN = text("outcome = ''")
Index("ix_webhook_deliveries_due_at", webhook_deliveries.c.due_at, sqlite_where=_OPEN, postgresql_where=_OPEN)
