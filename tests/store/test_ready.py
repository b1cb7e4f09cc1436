"""Statements that are compiled once: what they refuse, and that they never hold a value."""

import pytest
from sqlalchemy import ClauseElement, DateTime, bindparam, select

from agent_runner.status.store.driver.ready import Ready, ready, text_of
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.schema import executions
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import Kind
from tests.store.conftest import Flow


@ready
def named(*, newest: bool) -> ClauseElement:
    e = executions.c
    key = e.handle.desc() if newest else e.handle.asc()
    return select(e.id, e.handle).where(e.name == text_of("its_name")).order_by(key)


async def test_a_statement_is_made_once_for_each_variant(store: Store, flow: Flow) -> None:
    """Whatever its values are; the rows have the columns' names."""
    first, second = await flow.created(name="n"), await flow.created(name="n")
    made: list[bool] = []

    @ready
    def counted(*, newest: bool) -> ClauseElement:
        made.append(newest)
        return named.__wrapped__(newest=newest)  # type: ignore[attr-defined,no-any-return]

    def twice(connection: Connection) -> list[str]:
        found = [connection.one(counted(newest=newest), its_name="n") for newest in (True, False, True, False)]
        assert connection.one(counted(newest=True), its_name="other") is None
        return [row.id for row in found if row is not None]

    assert await store.transact(Kind.READS, twice) == [second.id, first.id] * 2
    assert made == [True, False]


async def test_a_value_that_is_forgotten_is_an_error(store: Store) -> None:
    """It is never taken for NULL."""
    with pytest.raises(Exception, match="its_name"):
        await store.transact(Kind.READS, lambda connection: connection.all(named(newest=True)))


async def test_a_type_that_must_be_converted_is_refused(store: Store) -> None:
    """The drivers would take or give something else."""
    strange = Ready(select(bindparam("at", type_=DateTime())))
    with pytest.raises(TypeError, match="must be converted"):
        await store.transact(Kind.READS, lambda connection: connection.all(strange, at=None))


async def test_a_verb_of_one_statement_has_no_second_one(store: Store) -> None:
    """Each would be a transaction by itself: the second one is refused, ready or not."""

    def two(connection: Connection) -> None:
        connection.all(named(newest=True), its_name="n")
        connection.all(named(newest=True), its_name="n")

    with pytest.raises(RuntimeError, match="a second one"):
        await store.transact(Kind.READS, two, alone=True)
    with pytest.raises(RuntimeError, match="not `Ready`"):
        await store.transact(Kind.READS, lambda connection: connection.scalar(select(executions.c.id)), alone=True)
    await store.transact(Kind.READS, two)
