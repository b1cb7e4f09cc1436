"""What a test is given to store in is as new, whoever had it before."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from agent_runner.status.store import schema
from agent_runner.status.store.store import Store
from tests.store.conftest import Flow
from tests.store.test_migrations import differences
from tests.support import databases

SORTS = pytest.mark.parametrize("sort", databases.SORTS)


def rows(url: str) -> int:
    engine = create_engine(schema.sync_url(url))
    try:
        with engine.connect() as connection:
            return sum(
                connection.execute(text(f"select count(*) from {table}")).scalar_one()
                for table in schema.metadata.tables
            )
    finally:
        engine.dispose()


@SORTS
async def test_nothing_of_the_last_test_is_left(sort: str, tmp_path: Path) -> None:
    """No row, no number that a sequence has given, and no table that the product does not have."""
    handles = []
    for _ in range(2):
        with databases.migrated(sort, tmp_path) as url:
            assert rows(url) == 0
            assert differences(url) == []
            store = Store.open(url)
            handles.append((await Flow(store).created()).handle)
            await store.close()
            assert rows(url)
    assert handles == [1, 1]


def test_a_database_whose_tables_were_changed_is_given_to_nobody(tmp_path: Path) -> None:
    """On Postgres, where databases are used again."""
    with databases.migrated("postgres", tmp_path) as changed, databases.admin(changed) as connection:
        connection.execute("create table surprise (id int)")
    with databases.migrated("postgres", tmp_path) as url:
        assert url != changed
        assert differences(url) == []


def test_a_connection_that_was_left_open_holds_nobody_up(tmp_path: Path) -> None:
    """It is cut off: what it has locked would keep the next test waiting."""
    with databases.migrated("postgres", tmp_path) as url:
        left = databases.admin(url)
        left.execute("begin")
        left.execute("lock table executions in access exclusive mode")
    with databases.migrated("postgres", tmp_path) as url:
        assert rows(url) == 0
    left.close()
