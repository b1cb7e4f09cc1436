"""which executions wait for their org's turn, and how far the orgs have come"""

from alembic import op
import sqlalchemy as sa

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("executions", sa.Column("priority", big, server_default="0", nullable=False))
    op.add_column("executions", sa.Column("ready_at", sa.Double(), server_default="0", nullable=False))
    ready, admitted = sa.text("ready_at > 0"), sa.text("dispatchable_at is not null and phase < 3")
    order: list[str | sa.TextClause] = ["runner_queue", "org", sa.text("priority DESC"), "handle"]
    op.create_index("ix_executions_ready", "executions", order, sqlite_where=ready, postgresql_where=ready)
    op.create_index(
        "ix_executions_admitted",
        "executions",
        ["runner_queue", "org", "step"],
        sqlite_where=admitted,
        postgresql_where=admitted,
    )
    op.create_table(
        "org_turns",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("began", sa.Double(), nullable=False),
        sa.Column("passed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "org", name=op.f("pk_org_turns")),
    )


def downgrade() -> None:
    op.drop_table("org_turns")
    op.drop_index("ix_executions_admitted", table_name="executions")
    op.drop_index("ix_executions_ready", table_name="executions")
    for column in ("ready_at", "priority"):
        op.drop_column("executions", column)
