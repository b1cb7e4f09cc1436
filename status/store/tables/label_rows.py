"""The labels of executions as rows, which lists search. They are deleted with their execution (cascade)."""

from sqlalchemy import Column, ForeignKey, Index, String, Table

from agent_runner.status.store.tables.columns import Big, metadata

execution_labels = Table(
    "execution_labels",
    metadata,
    Column(
        "handle",
        Big,
        ForeignKey("executions.handle", name="fk_execution_labels_handle", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("label", String, primary_key=True),
    sqlite_with_rowid=False,
)
"""`label`: `key:value`."""
Index("ix_execution_labels_label", execution_labels.c.label, execution_labels.c.handle.desc())
