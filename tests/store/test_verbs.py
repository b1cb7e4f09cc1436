"""Which methods are verbs of the store, and that they give way: closed by default."""

import inspect

import pytest

from agent_runner.status.store import verbs
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import StoreConflict
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import reads, verb, writes


def test_a_public_coroutine_that_is_no_verb_is_refused() -> None:
    """When its class is made, so that nobody can forget it; what takes a connection and is not awaited is a part."""
    with pytest.raises(TypeError, match=r"Forgetful\.count is public and no @verb"):

        class Forgetful(Transactions):
            async def count(self) -> int:
                return 1

    class Careful(Transactions):
        @verb
        async def count(self) -> int:
            return 1

        @reads
        def all(self, connection: Connection) -> int:
            return self.part(connection)

        def part(self, connection: Connection) -> int:
            return 2

        async def _own(self) -> None: ...

    class Before(Careful):
        """What stands before a verb calls it."""

        async def count(self) -> int:
            return await super().count() + 1

    with pytest.raises(TypeError, match=r"More\.more is public"):

        class More(Before):
            async def more(self) -> int:
                return 2


def test_no_caller_gives_a_connection() -> None:
    """Done again alone, a part would be done twice in one transaction: whoever has a connection calls no verb."""
    for name in verbs.verbs_of(Store):
        assert "connection" not in inspect.signature(getattr(Store, name)).parameters, name


async def test_a_verb_is_done_again_after_a_conflict_and_not_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few times; then the conflict is told. Anything else is told at once."""
    monkeypatch.setattr(verbs, "PAUSE_S", 0.0)
    tried: list[str] = []

    @writes
    def gives_way(self: Store, connection: Connection, times: int, error: Exception) -> str:
        tried.append("")
        if len(tried) <= times:
            raise error
        return "done"

    assert await gives_way(store, verbs.TRIES - 1, StoreConflict("once more")) == "done"
    assert len(tried) == verbs.TRIES
    tried.clear()
    with pytest.raises(StoreConflict):
        await gives_way(store, verbs.TRIES, StoreConflict("again and again"))
    assert len(tried) == verbs.TRIES
    tried.clear()
    with pytest.raises(ValueError, match="no conflict"):
        await gives_way(store, 9, ValueError("no conflict"))
    assert len(tried) == 1
