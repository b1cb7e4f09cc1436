"""the token of a run's claim, the key of a worker, and of each key its end and its maker"""

from alembic import op
import sqlalchemy as sa

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("executions", sa.Column("run_token", sa.String(), server_default="", nullable=False))
    op.add_column("executions", sa.Column("run_token_fence", _big(), server_default="0", nullable=False))
    op.add_column("workers", sa.Column("key_id", sa.String(), server_default="", nullable=False))
    op.add_column("api_keys", sa.Column("expires_at", sa.Double(), nullable=True))
    op.add_column("api_keys", sa.Column("made_by", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("api_keys", "made_by")
    op.drop_column("api_keys", "expires_at")
    op.drop_column("workers", "key_id")
    op.drop_column("executions", "run_token_fence")
    op.drop_column("executions", "run_token")


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
