"""addresses that are called at the end of an execution"""

from alembic import op
import sqlalchemy as sa

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("executions", sa.Column("webhook", sa.LargeBinary(), nullable=True))
    op.add_column("executions", sa.Column("webhook_due_at", sa.Double(), server_default="9000000000000000", nullable=False))
    op.add_column("executions", sa.Column("webhook_tries", big, server_default="0", nullable=False))
    due = sa.text("webhook is not null")
    op.create_index(
        "ix_executions_webhook_due_at", "executions", ["webhook_due_at"], sqlite_where=due, postgresql_where=due
    )


def downgrade() -> None:
    op.drop_index("ix_executions_webhook_due_at", table_name="executions")
    for column in ("webhook_tries", "webhook_due_at", "webhook"):
        op.drop_column("executions", column)
