"""executions that begin by the clock"""

from alembic import op
import sqlalchemy as sa

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(), nullable=False),
        *[
            sa.Column(name, sa.String(), server_default="", nullable=False)
            for name in ("org", "name", "edge", "session_id", "made_by", "ended", "cron", "timezone")
        ],
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("next_at", sa.Double(), server_default="9000000000000000", nullable=False),
        sa.Column("leased_until", sa.Double(), server_default="0", nullable=False),
        *[
            sa.Column(name, big, server_default="0", nullable=False)
            for name in ("paused", "revision", "fired", "recorded")
        ],
        sa.Column("last_fired_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    active = sa.text("paused = 0")
    op.create_index("ix_schedules_due", "schedules", ["next_at"], sqlite_where=active, postgresql_where=active)
    op.create_index("ix_schedules_org", "schedules", ["org", "created_at"])
    op.create_table(
        "schedule_firings",
        sa.Column("schedule_id", sa.String(), nullable=False),
        sa.Column("number", big, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), server_default="", nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("outcome", sa.String(), server_default="", nullable=False),
        sa.Column("passed_over", big, server_default="0", nullable=False),
        sa.Column("execution_id", sa.String(), server_default="", nullable=False),
        sa.Column("code", sa.String(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name="fk_schedule_firings_schedule_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("schedule_id", "number", name=op.f("pk_schedule_firings")),
    )
    fired = sa.text("kind = 'clock' and outcome = 'fired'")
    op.create_index(
        "uq_schedule_firings_clock",
        "schedule_firings",
        ["schedule_id", "due_at"],
        unique=True,
        sqlite_where=fired,
        postgresql_where=fired,
    )


def downgrade() -> None:
    op.drop_table("schedule_firings")
    op.drop_table("schedules")
