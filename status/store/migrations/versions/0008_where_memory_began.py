"""where in its session's memory an execution began, and sessions that were made for one execution"""

from alembic import op
import sqlalchemy as sa

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for name in ("base_checkpoint_id", "resume_checkpoint_id"):
        op.add_column("executions", sa.Column(name, sa.String(), server_default="", nullable=False))
    op.add_column("executions", sa.Column("base_given", _big(), server_default="0", nullable=False))
    op.add_column("session_facts", sa.Column("one_shot", _big(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("session_facts", "one_shot")
    for name in ("base_given", "resume_checkpoint_id", "base_checkpoint_id"):
        op.drop_column("executions", name)


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
