"""skill artifacts: the versions of skills and their tags"""

from alembic import op
import sqlalchemy as sa

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "skill_artifacts",
        sa.Column("skill_id", sa.String(), nullable=False),
        sa.Column("version_hash", sa.String(), nullable=False),
        sa.Column("artifact_key", sa.String(), nullable=False),
        sa.Column("skill_md", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("skill_id", "version_hash", name=op.f("pk_skill_artifacts")),
        sa.UniqueConstraint("artifact_key", name=op.f("uq_skill_artifacts_artifact_key")),
    )
    op.create_table(
        "skill_tags",
        sa.Column("skill_id", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("version_hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("skill_id", "tag", name=op.f("pk_skill_tags")),
    )


def downgrade() -> None:
    op.drop_table("skill_tags")
    op.drop_table("skill_artifacts")
