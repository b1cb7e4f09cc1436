"""tokens that answer a question without a key"""

from alembic import op
import sqlalchemy as sa

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "answer_tokens",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("handle", big, nullable=False),
        sa.Column("question_id", sa.String(), server_default="", nullable=False),
        sa.Column("made_by", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.Column("answered_by", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["handle"], ["executions.handle"], name="fk_answer_tokens_handle", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name="pk_answer_tokens"),
    )
    op.create_index("ix_answer_tokens_handle", "answer_tokens", ["handle"])


def downgrade() -> None:
    op.drop_table("answer_tokens")
