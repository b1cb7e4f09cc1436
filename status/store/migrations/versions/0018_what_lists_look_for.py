"""labels as rows, and indexes by code and by graph, for the filters of lists"""

import json

from alembic import op
import sqlalchemy as sa

revision = "0018"
down_revision = "0017"

BATCH = 500
MAX_LABEL = 255
"""A longer label is shown, but not looked for: an entry of an index has a limit."""


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "execution_labels",
        sa.Column("handle", big, autoincrement=False, nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["handle"], ["executions.handle"], name="fk_execution_labels_handle", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("handle", "label", name=op.f("pk_execution_labels")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_execution_labels_label", "execution_labels", ["label", sa.literal_column("handle DESC")])
    for column in ("error_code", "graph"):
        given = sa.text(f"{column} <> ''")
        op.create_index(
            f"ix_executions_{column}",
            "executions",
            [column, sa.literal_column("handle DESC")],
            sqlite_where=given,
            postgresql_where=given,
        )
    _copy()


def downgrade() -> None:
    for column in ("graph", "error_code"):
        op.drop_index(f"ix_executions_{column}", table_name="executions")
    op.drop_table("execution_labels")


def _copy() -> None:
    """What stands in `metadata.labels` of each execution becomes rows, a batch at a time."""
    connection = op.get_bind()
    rows = sa.table("executions", sa.column("handle"), sa.column("spec"))
    labels = sa.table("execution_labels", sa.column("handle"), sa.column("label"))
    query = sa.select(rows).where(rows.c.spec.like('%"labels"%')).order_by(rows.c.handle).limit(BATCH)
    after = 0
    while True:
        batch = connection.execute(query.where(rows.c.handle > after)).all()
        found = [{"handle": row.handle, "label": label} for row in batch for label in _labels(row.spec)]
        if found:
            connection.execute(labels.insert(), found)
        if len(batch) < BATCH:
            return
        after = batch[-1].handle


def _labels(document: str) -> list[str]:
    kept = (json.loads(document).get("metadata") or {}).get("labels") or {}
    return sorted({one for key, value in kept.items() if len(one := f"{key}:{value}") <= MAX_LABEL and "\0" not in one})
