"""what orgs with a budget have used"""

from alembic import op
import sqlalchemy as sa

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_table(
        "org_use",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("window_name", sa.String(), nullable=False),
        sa.Column("began", sa.Double(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("used", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("org", "window_name", "began", "measure", name="pk_org_use"),
    )


def downgrade() -> None:
    op.drop_table("org_use")
