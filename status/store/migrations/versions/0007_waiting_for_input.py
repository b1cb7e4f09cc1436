"""executions that wait for a person"""

from alembic import op
import sqlalchemy as sa

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("executions", sa.Column("waiting", big, server_default="0", nullable=False))
    waiting = sa.text("waiting = 1")
    op.create_index(
        "ix_executions_waiting",
        "executions",
        ["session_id", sa.text("handle DESC")],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def downgrade() -> None:
    op.drop_index("ix_executions_waiting", table_name="executions")
    op.drop_column("executions", "waiting")
