"""The migrations lead to the tables, from nothing and from the first schema with data in it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, select

from agent_runner.status.store import schema
from agent_runner.status.store.records import Execution
from agent_runner.status.store.store import Store
from agent_runner.status.store.tables.revisions import newest_revision
from tests.store.conftest import Clock, Flow

DAY = 86_400.0


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


def test_the_migrations_make_the_tables(empty_url: str) -> None:
    """After all migrations there is no difference to the tables that the code works with."""
    schema.migrate(empty_url)
    assert differences(empty_url) == []


def test_the_newest_revision_is_the_last_of_the_chain(empty_url: str) -> None:
    """The names of the files agree with what Alembic makes of them, and with what it writes."""
    engine = create_engine(schema.sync_url(empty_url))
    try:
        with engine.connect() as connection:
            chain = ScriptDirectory.from_config(schema._alembic(connection))
            assert [newest_revision()] == chain.get_heads()
    finally:
        engine.dispose()
    assert schema.revision(empty_url) == ("", newest_revision())
    schema.migrate(empty_url)
    assert schema.revision(empty_url) == (newest_revision(), newest_revision())


def test_a_current_database_needs_no_alembic(empty_url: str) -> None:
    """A server that starts on one does not import it; one that starts on an older one does."""
    program = "import sys; from agent_runner.status.store.schema import migrate; migrate(sys.argv[1]);"
    command = [sys.executable, "-P", "-c", f"{program} print('alembic' in sys.modules)", empty_url]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)]
    assert said == ["True", "False"]


async def stored_under(revision: str, url: str, newest: str, clock: Clock) -> Execution:
    """An execution with its log in the tables of that revision: made in the database `newest`, and copied."""
    schema.migrate(newest)
    store = Store.open(newest, now=clock)
    made = await Flow(store).created(org="a")
    await store.close()
    migrate_to(url, revision)
    source, target = create_engine(schema.sync_url(newest)), create_engine(schema.sync_url(url))
    tables = MetaData()
    tables.reflect(target)
    try:
        with source.connect() as read, target.begin() as write:
            for name in ("executions", "execution_log", "session_facts"):
                old = tables.tables[name]
                columns = [c for c in schema.metadata.tables[name].c if c.name in old.c and c.computed is None]
                write.execute(old.insert(), [dict(row._mapping) for row in read.execute(select(*columns))])
    finally:
        source.dispose()
        target.dispose()
    return made


async def test_the_first_schema_upgrades_with_its_data(empty_url: str, clock: Clock, tmp_path: Path) -> None:
    """An execution that was stored under the first schema is the same after all migrations."""
    made = await stored_under("0001", empty_url, f"sqlite:///{tmp_path}/newest.db", clock)
    schema.migrate(empty_url)
    assert schema.revision(empty_url)[0] == schema.revision(empty_url)[1]
    store = Store.open(empty_url, now=clock)
    try:
        assert await store.get(made.id) == made
        assert [(row.seq, row.kind) for row in await store.read_log(made.id)] == [(1, "message"), (2, "phase")]
        assert await store.list_keys() == []
        assert (await store.begin(made.id, "b1", "w1")).granted
    finally:
        await store.close()


async def test_sessions_from_before_retention_were_used_at_the_upgrade(
    empty_url: str, clock: Clock, tmp_path: Path
) -> None:
    """When they were used is not known: none of them is idle before the time has passed from the upgrade on."""
    made = await stored_under("0004", empty_url, f"sqlite:///{tmp_path}/newest.db", clock)
    schema.migrate(empty_url)
    clock.at = time.time()
    store = Store.open(empty_url, now=clock)
    try:
        assert await store.request_cancel(made.id, "test")
        clock.advance(DAY / 2)
        assert await store.retire_sessions(DAY) == []
        clock.advance(DAY)
        assert await store.retire_sessions(DAY) == [made.session_id]
    finally:
        await store.close()
