"""a sealed text, which only the secret key in use can open"""

from alembic import op
import sqlalchemy as sa

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "sealing",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sample", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sealing")),
    )


def downgrade() -> None:
    op.drop_table("sealing")
