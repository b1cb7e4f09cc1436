"""what a new execution did to those before it in its session, and when one may begin"""

from alembic import op
import sqlalchemy as sa

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("executions", sa.Column("multitask", sa.String(), server_default="enqueue", nullable=False))
    op.add_column("executions", sa.Column("rolled_back", big, server_default="0", nullable=False))
    op.add_column("executions", sa.Column("not_before", sa.Double(), server_default="0", nullable=False))
    rolled_back, later = sa.text("rolled_back = 1"), sa.text("not_before > 0")
    op.create_index(
        "ix_executions_rolled_back",
        "executions",
        ["completed_at"],
        sqlite_where=rolled_back,
        postgresql_where=rolled_back,
    )
    op.create_index(
        "ix_executions_not_before", "executions", ["not_before"], sqlite_where=later, postgresql_where=later
    )


def downgrade() -> None:
    op.drop_index("ix_executions_not_before", table_name="executions")
    op.drop_index("ix_executions_rolled_back", table_name="executions")
    for column in ("not_before", "rolled_back", "multitask"):
        op.drop_column("executions", column)
