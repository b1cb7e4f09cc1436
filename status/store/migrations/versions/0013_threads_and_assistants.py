"""what clients of the Agent Server API keep beside a session and a graph: threads and assistants"""

from alembic import op
import sqlalchemy as sa

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "threads",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("org", sa.String(), server_default="", nullable=False),
        sa.Column("metadata", sa.Text(), server_default="{}", nullable=False),
        sa.Column("config", sa.Text(), server_default="{}", nullable=False),
        sa.Column("ttl", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("state_updated_at", sa.Double(), nullable=True),
        sa.Column("state_checkpoint_id", sa.String(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("stopped", _big(), server_default="0", nullable=False),
        sa.Column("by_hand", _big(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_threads")),
    )
    op.create_index("ix_threads_org", "threads", ["org", "updated_at"])
    op.create_index("ix_threads_expires_at", "threads", ["expires_at"])
    op.create_table(
        "assistants",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", _big(), nullable=False),
        sa.Column("is_latest", _big(), server_default="0", nullable=False),
        sa.Column("graph", sa.String(), server_default="", nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("first_made_at", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("org", "id", "version", name=op.f("pk_assistants")),
    )
    op.create_index("ix_assistants_latest", "assistants", ["is_latest", "org", "first_made_at"])
    op.create_index("ix_assistants_id", "assistants", ["id"])


def downgrade() -> None:
    op.drop_table("assistants")
    op.drop_table("threads")


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
