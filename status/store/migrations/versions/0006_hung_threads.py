"""workers: threads of ended runs that have not come back, and why a worker takes no work"""

from alembic import op
import sqlalchemy as sa

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("workers", sa.Column("hung_threads", _big(), server_default="0", nullable=False))
    op.add_column("workers", sa.Column("not_taking", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("workers", "not_taking")
    op.drop_column("workers", "hung_threads")


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
