"""the first schema"""

from alembic import op
import sqlalchemy as sa

revision = "0001"
down_revision = None


def upgrade() -> None:
    least = "least" if op.get_bind().dialect.name == "postgresql" else "min"
    op.create_table(
        "execution_log",
        sa.Column("handle", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("fence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("handle", "seq", name=op.f("pk_execution_log")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "execution_snapshots",
        sa.Column("handle", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("handle", name=op.f("pk_execution_snapshots")),
    )
    op.create_table(
        "executions",
        sa.Column("handle", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("org", sa.String(), server_default="", nullable=False),
        sa.Column("session_id", sa.String(), server_default="", nullable=False),
        sa.Column("agent_id", sa.String(), server_default="", nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.Column("slug", sa.String(), server_default="", nullable=False),
        sa.Column("graph", sa.String(), server_default="", nullable=False),
        sa.Column("model_name", sa.String(), server_default="", nullable=False),
        sa.Column("redriven_from", sa.String(), server_default="", nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("sealed_env", sa.LargeBinary(), nullable=True),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(), server_default="", nullable=False),
        sa.Column("fence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column(
            "settled_fence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False
        ),
        sa.Column("attempt", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column(
            "max_attempts", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False
        ),
        sa.Column(
            "resumable", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False
        ),
        sa.Column("begin_id", sa.String(), server_default="", nullable=False),
        sa.Column("claim_id", sa.String(), server_default="", nullable=False),
        sa.Column("owner", sa.String(), server_default="", nullable=False),
        sa.Column("owner_name", sa.String(), server_default="", nullable=False),
        sa.Column("thread_id", sa.String(), server_default="", nullable=False),
        sa.Column("runner_queue", sa.String(), server_default="", nullable=False),
        sa.Column("orchestrator_queue", sa.String(), server_default="", nullable=False),
        sa.Column(
            "runner_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False
        ),
        sa.Column("last_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column(
            "snapshot_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False
        ),
        sa.Column(
            "snapshot_bytes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False
        ),
        sa.Column(
            "tail_bytes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False
        ),
        sa.Column("limit_schedule_to_start", sa.Double(), nullable=False),
        sa.Column("limit_heartbeat", sa.Double(), nullable=False),
        sa.Column("limit_start_to_close", sa.Double(), nullable=False),
        sa.Column("limit_schedule_to_close", sa.Double(), nullable=False),
        sa.Column("limit_thread_wait", sa.Double(), nullable=False),
        sa.Column("limit_cancel", sa.Double(), nullable=False),
        sa.Column("limit_settle_grace", sa.Double(), nullable=False),
        sa.Column("limit_worker_lost_grace", sa.Double(), nullable=False),
        sa.Column("limit_ensure_thread", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("dispatchable_at", sa.Double(), nullable=True),
        sa.Column("dispatched_at", sa.Double(), nullable=True),
        sa.Column("claimed_at", sa.Double(), nullable=True),
        sa.Column("last_beat_at", sa.Double(), nullable=True),
        sa.Column("completed_at", sa.Double(), nullable=True),
        sa.Column("cancel_requested_at", sa.Double(), nullable=True),
        sa.Column("next_dispatch_at", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column("due_thread_wait", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column("due_schedule_to_start", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column("due_ensure_thread", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column("due_heartbeat", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column("due_worker_lost", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column("due_start_to_close", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column("due_schedule_to_close", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column("due_cancel", sa.Double(), server_default=sa.text("(9000000000000000)"), nullable=False),
        sa.Column(
            "next_deadline",
            sa.Double(),
            sa.Computed(
                f"{least}(due_thread_wait, due_schedule_to_start, due_ensure_thread, due_heartbeat, due_worker_lost, due_start_to_close, due_schedule_to_close, due_cancel)",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("cancelled_by", sa.String(), server_default="", nullable=False),
        sa.Column("progress", sa.Text(), server_default="{}", nullable=False),
        sa.Column("error_code", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("handle", name=op.f("pk_executions")),
        sa.UniqueConstraint("id", name=op.f("uq_executions_id")),
        sa.UniqueConstraint("org", "idempotency_key", name=op.f("uq_executions_org_idempotency_key")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.create_index("ix_executions_agent", ["agent_id", sa.literal_column("handle DESC")], unique=False)
        batch_op.create_index(
            "ix_executions_next_deadline",
            ["next_deadline"],
            unique=False,
            sqlite_where=sa.text("phase < 3"),
            postgresql_where=sa.text("phase < 3"),
        )
        batch_op.create_index(
            "ix_executions_next_dispatch_at",
            ["next_dispatch_at"],
            unique=False,
            sqlite_where=sa.text("phase < 3"),
            postgresql_where=sa.text("phase < 3"),
        )
        batch_op.create_index(
            "ix_executions_open_owner",
            ["owner"],
            unique=False,
            sqlite_where=sa.text("phase < 3"),
            postgresql_where=sa.text("phase < 3"),
        )
        batch_op.create_index(
            "ix_executions_open_session",
            ["session_id", "handle"],
            unique=False,
            sqlite_where=sa.text("phase < 3"),
            postgresql_where=sa.text("phase < 3"),
        )
        batch_op.create_index("ix_executions_phase", ["phase", sa.literal_column("handle DESC")], unique=False)
        batch_op.create_index("ix_executions_session", ["session_id", sa.literal_column("handle DESC")], unique=False)

    op.create_table(
        "resources",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("org", sa.String(), server_default="", nullable=False),
        sa.Column("slug", sa.String(), server_default="", nullable=False),
        sa.Column("parent_id", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("version", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name=op.f("pk_resources")),
        sa.UniqueConstraint("kind", "org", "slug", name=op.f("uq_resources_kind_org_slug")),
    )
    with op.batch_alter_table("resources", schema=None) as batch_op:
        batch_op.create_index(
            "ix_resources_parent", ["kind", "parent_id", sa.literal_column("created_at DESC")], unique=False
        )

    op.create_table(
        "session_facts",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("thread_id", sa.String(), server_default="", nullable=False),
        sa.Column("head_checkpoint_id", sa.String(), server_default="", nullable=False),
        sa.Column("sandbox_id", sa.String(), server_default="", nullable=False),
        sa.Column("turns", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_session_facts")),
    )
    op.create_table(
        "startup_failures",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("role", sa.String(), server_default="", nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_startup_failures")),
    )
    op.create_table(
        "sweeper",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("alive_at", sa.Double(), nullable=False),
        sa.Column("resumed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeper")),
    )
    op.create_table(
        "workers",
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("queue", sa.String(), server_default="", nullable=False),
        sa.Column("role", sa.String(), server_default="", nullable=False),
        sa.Column("hostname", sa.String(), server_default="", nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.String(), server_default="", nullable=False),
        sa.Column("exit_text", sa.String(), server_default="", nullable=False),
        sa.Column("pid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column("slots", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column("busy", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column("connected_at", sa.Double(), nullable=False),
        sa.Column("last_seen_at", sa.Double(), nullable=False),
        sa.Column("disconnected_at", sa.Double(), nullable=True),
        sa.Column("gone_at", sa.Double(), nullable=True),
        sa.Column("loop_lag_s", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("incarnation", name=op.f("pk_workers")),
    )
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.create_index("ix_workers_queue", ["queue", "connected_at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.drop_index("ix_workers_queue")

    op.drop_table("workers")
    op.drop_table("sweeper")
    op.drop_table("startup_failures")
    op.drop_table("session_facts")
    with op.batch_alter_table("resources", schema=None) as batch_op:
        batch_op.drop_index("ix_resources_parent")

    op.drop_table("resources")
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.drop_index("ix_executions_session")
        batch_op.drop_index("ix_executions_phase")
        batch_op.drop_index(
            "ix_executions_open_session", sqlite_where=sa.text("phase < 3"), postgresql_where=sa.text("phase < 3")
        )
        batch_op.drop_index(
            "ix_executions_open_owner", sqlite_where=sa.text("phase < 3"), postgresql_where=sa.text("phase < 3")
        )
        batch_op.drop_index(
            "ix_executions_next_dispatch_at", sqlite_where=sa.text("phase < 3"), postgresql_where=sa.text("phase < 3")
        )
        batch_op.drop_index(
            "ix_executions_next_deadline", sqlite_where=sa.text("phase < 3"), postgresql_where=sa.text("phase < 3")
        )
        batch_op.drop_index("ix_executions_agent")

    op.drop_table("executions")
    op.drop_table("execution_snapshots")
    op.drop_table("execution_log")
