"""retention: when sessions were used, what workers are to remove, an index of ends"""

import time

from alembic import op
import sqlalchemy as sa

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("session_facts", sa.Column("used_at", sa.Double(), server_default="0", nullable=False))
    op.add_column("session_facts", sa.Column("retired", _big(), server_default="0", nullable=False))
    # When they were used is not known: as if it were today, so that nobody loses a sandbox too early.
    op.execute(sa.text("update session_facts set used_at = :now").bindparams(now=time.time()))
    in_use, ended = sa.text("retired = 0"), sa.text("completed_at is not null")
    op.create_index(
        "ix_session_facts_used_at", "session_facts", ["used_at"], sqlite_where=in_use, postgresql_where=in_use
    )
    op.create_index(
        "ix_executions_completed_at", "executions", ["completed_at"], sqlite_where=ended, postgresql_where=ended
    )
    op.create_table(
        "removals",
        sa.Column("id", _big(), autoincrement=True, nullable=False),
        *(
            sa.Column(name, sa.String(), server_default="", nullable=False)
            for name in ("session_id", "sandbox_id", "thread_id", "head_checkpoint_id")
        ),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
    )
    op.create_index("ix_removals_due_at", "removals", ["due_at"])
    op.create_index("ix_removals_what", "removals", ["sandbox_id", "thread_id"])


def downgrade() -> None:
    op.drop_table("removals")
    op.drop_index("ix_executions_completed_at", table_name="executions")
    op.drop_index("ix_session_facts_used_at", table_name="session_facts")
    op.drop_column("session_facts", "retired")
    op.drop_column("session_facts", "used_at")


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
