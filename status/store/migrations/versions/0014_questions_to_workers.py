"""questions about a graph or its memory, which only workers can answer"""

from alembic import op
import sqlalchemy as sa

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    names = ("org", "kind", "queue", "graph", "agent_id", "thread_id", "head_checkpoint_id")
    op.create_table(
        "graph_queries",
        sa.Column("id", sa.String(), nullable=False),
        *[sa.Column(name, sa.String(), server_default="", nullable=False) for name in names],
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("token", sa.String(), server_default="", nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("taken_at", sa.Double(), nullable=True),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("refusal", sa.String(), server_default="", nullable=False),
        sa.Column("refused_as", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph_queries")),
    )
    op.create_index("ix_graph_queries_due_at", "graph_queries", ["due_at"])


def downgrade() -> None:
    op.drop_table("graph_queries")
