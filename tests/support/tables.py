"""The tables below a store, for tests that look at rows or make states that no verb makes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Executable, Row

from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.verbs import Kind


async def change(store: Transactions, *statements: Executable, values: Any = None) -> None:
    """These statements, in one transaction that writes. `values` are the parameters of each."""
    await store.transact(Kind.WRITES, lambda connection: [connection.execute(one, values) for one in statements])


async def rows(store: Transactions, query: Executable) -> Sequence[Row[Any]]:
    return await store.transact(Kind.READS, lambda connection: connection.execute(query).all())


async def scalar(store: Transactions, query: Executable) -> Any:
    """The first column of the first row."""
    return await store.transact(Kind.READS, lambda connection: connection.scalar(query))
