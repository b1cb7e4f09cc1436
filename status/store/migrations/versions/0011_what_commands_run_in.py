"""workers: what the commands of agents run in"""

from alembic import op
import sqlalchemy as sa

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("workers", sa.Column("sandbox", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("workers", "sandbox")
