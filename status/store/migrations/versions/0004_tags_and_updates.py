"""tags that lists look for; who updated an execution's spec, and when"""

import json

from alembic import op
import sqlalchemy as sa

revision = "0004"
down_revision = "0003"

BATCH = 500
MAX_TAG = 128
"""A longer tag is shown, but not looked for: an entry of an index has a limit."""


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "execution_tags",
        sa.Column("handle", big, autoincrement=False, nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["handle"], ["executions.handle"], name="fk_execution_tags_handle", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("handle", "tag", name=op.f("pk_execution_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_execution_tags_tag", "execution_tags", ["tag", sa.literal_column("handle DESC")])
    op.create_table(
        "resource_tags",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["kind", "id"],
            ["resources.kind", "resources.id"],
            name="fk_resource_tags_kind_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("kind", "id", "tag", name=op.f("pk_resource_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_resource_tags_tag", "resource_tags", ["kind", "tag", sa.literal_column("id DESC")])
    op.add_column("executions", sa.Column("spec_version", big, server_default="1", nullable=False))
    op.add_column("executions", sa.Column("spec_updated_at", sa.Double(), nullable=True))
    op.add_column("executions", sa.Column("spec_updated_by", sa.String(), server_default="", nullable=False))
    op.create_index("ix_executions_org", "executions", ["org", sa.literal_column("handle DESC")])
    _copy("executions", ("handle",), "spec", "execution_tags")
    _copy("resources", ("kind", "id"), "body", "resource_tags")


def downgrade() -> None:
    op.drop_index("ix_executions_org", table_name="executions")
    for column in ("spec_updated_by", "spec_updated_at", "spec_version"):
        op.drop_column("executions", column)
    op.drop_table("resource_tags")
    op.drop_table("execution_tags")


def _copy(source: str, key: tuple[str, ...], document: str, target: str) -> None:
    """What stands in `metadata.tags` of each row's document becomes rows, a batch at a time."""
    connection = op.get_bind()
    rows = sa.table(source, *(sa.column(name) for name in (*key, document)))
    tags = sa.table(target, *(sa.column(name) for name in (*key, "tag")))
    order = [rows.c[name] for name in key]
    query = sa.select(rows).where(rows.c[document].like('%"tags"%')).order_by(*order).limit(BATCH)
    after: tuple[object, ...] = ()
    while True:
        batch = connection.execute(query.where(sa.tuple_(*order) > after) if after else query).all()
        found = [
            {**dict(zip(key, row, strict=False)), "tag": tag} for row in batch for tag in _tags(row._mapping[document])
        ]
        if found:
            connection.execute(tags.insert(), found)
        if len(batch) < BATCH:
            return
        after = tuple(batch[-1]._mapping[name] for name in key)


def _tags(document: str) -> list[str]:
    kept = json.loads(document).get("metadata", {}).get("tags", [])
    return [tag for tag in dict.fromkeys(kept) if len(tag) <= MAX_TAG and "\0" not in tag]
