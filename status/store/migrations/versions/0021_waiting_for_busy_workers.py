"""how long an execution may wait while workers are busy"""

from alembic import op
import sqlalchemy as sa

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("executions", sa.Column("limit_busy_to_start", sa.Double(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("executions", "limit_busy_to_start")
