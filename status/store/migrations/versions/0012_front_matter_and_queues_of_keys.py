"""what the front matter of each version of a skill says, and the queues that a key for workers serves"""

from alembic import op
import sqlalchemy as sa

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("skill_artifacts", sa.Column("front", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("queues", sa.Text(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("api_keys", "queues")
    op.drop_column("skill_artifacts", "front")
