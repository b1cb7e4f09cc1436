"""skills: what the front matter of each version says, read when it is pushed"""

from alembic import op
import sqlalchemy as sa

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("skill_artifacts", sa.Column("front", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("skill_artifacts", "front")
