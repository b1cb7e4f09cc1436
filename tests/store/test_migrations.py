"""The migrations lead to the tables, from nothing and from the first schema with data in it."""

from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from status.store import schema
from status.store.store import Store
from tests.store.conftest import Clock, Flow


def differences(url: str) -> list[Any]:
    engine = create_engine(schema.sync_url(url))
    try:
        with engine.connect() as connection:
            return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))
    finally:
        engine.dispose()


def migrate_to(url: str, revision: str) -> None:
    engine = create_engine(schema.sync_url(url))
    try:
        with engine.connect() as connection, connection.begin():
            command.upgrade(schema._alembic(connection), revision)
    finally:
        engine.dispose()


def test_the_migrations_make_the_tables(database_url: str) -> None:
    """After all migrations there is no difference to the tables that the code works with."""
    schema.migrate(database_url)
    assert differences(database_url) == []


async def test_the_first_schema_upgrades_with_its_data(database_url: str, clock: Clock) -> None:
    """An execution that was stored under the first schema is the same after all migrations."""
    migrate_to(database_url, "0001")
    store = Store.open(database_url, now=clock)
    try:
        made = await Flow(store).created(org="a")
        before, log = await store.get(made.id), await store.read_log(made.id)
        await store.close()
        schema.migrate(database_url)
        assert schema.revision(database_url)[0] == schema.revision(database_url)[1]
        assert await store.get(made.id) == before == made
        assert await store.read_log(made.id) == log
        assert await store.list_keys() == []
    finally:
        await store.close()
