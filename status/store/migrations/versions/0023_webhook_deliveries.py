"""calls of webhooks as rows of their own: at the start of an execution, at its question and at its end"""

from alembic import op
import sqlalchemy as sa

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("handle", big, nullable=False),
        sa.Column("event", sa.String(), server_default="", nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), server_default="9000000000000000", nullable=False),
        sa.Column("tries", big, server_default="0", nullable=False),
        sa.Column("outcome", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["handle"], ["executions.handle"], name="fk_webhook_deliveries_handle", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.UniqueConstraint("handle", "event", name="uq_webhook_deliveries_handle_event"),
    )
    still = sa.text("outcome = ''")
    op.create_index(
        "ix_webhook_deliveries_due_at", "webhook_deliveries", ["due_at"], sqlite_where=still, postgresql_where=still
    )
    # What an earlier release asked for is the call at the end, and its servers go on to make it due in the old way.
    op.add_column("executions", sa.Column("webhook_events", sa.String(), server_default="end", nullable=False))


def downgrade() -> None:
    op.drop_column("executions", "webhook_events")
    op.drop_table("webhook_deliveries")
