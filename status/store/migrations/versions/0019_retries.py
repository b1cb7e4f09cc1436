"""what is tried again, and when"""

from alembic import op
import sqlalchemy as sa

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("executions", sa.Column("retry", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("executions", "retry")
