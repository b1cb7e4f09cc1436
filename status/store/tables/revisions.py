"""The revision of a database's tables, and the newest one, without Alembic: it is imported only to migrate."""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

MIGRATIONS = Path(__file__).parents[1] / "migrations"
_VERSION = Table("alembic_version", MetaData(), Column("version_num", String))


def newest_revision() -> str:
    """That of the last migration. Their files begin with their revisions, which are numbered."""
    return max(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def revision_in(connection: Connection) -> str:
    """Empty for a database that no migration has seen."""
    if not inspect(connection).has_table(_VERSION.name):
        return ""
    return connection.execute(select(_VERSION.c.version_num)).scalar() or ""
