"""the pictures and files that executions were sent"""

from alembic import op
import sqlalchemy as sa

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "execution_attachments",
        sa.Column("handle", _big(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number", _big(), server_default="0", nullable=False),
        sa.Column("size", _big(), server_default="0", nullable=False),
        sa.Column("described", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["handle"], ["executions.handle"], name="fk_execution_attachments_handle", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("handle", "id", name=op.f("pk_execution_attachments")),
    )


def downgrade() -> None:
    op.drop_table("execution_attachments")


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
