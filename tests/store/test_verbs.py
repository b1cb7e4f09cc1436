"""Which methods are verbs of the store, and that they give way: closed by default."""

import inspect

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_runner.status.store import verbs
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.errors import StoreConflict
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import verb


def test_a_public_coroutine_that_is_no_verb_is_refused() -> None:
    """When its class is made, so that nobody can forget it; what takes a connection is a part of a verb."""
    with pytest.raises(TypeError, match=r"Forgetful\.count is public and no @verb"):

        class Forgetful(Transactions):
            async def count(self) -> int:
                return 1

    class Careful(Transactions):
        @verb
        async def count(self) -> int:
            return 1

        async def part(self, connection: AsyncConnection) -> None: ...

        async def _own(self) -> None: ...

    class Before(Careful):
        """What stands before a verb calls it."""

        async def count(self) -> int:
            return await super().count() + 1

    with pytest.raises(TypeError, match=r"More\.more is public"):

        class More(Before):
            async def more(self) -> int:
                return 2


def test_no_part_of_a_verb_is_one() -> None:
    """Done again alone, a part would be done twice in one transaction."""
    for name, method in inspect.getmembers(Store, inspect.iscoroutinefunction):
        if "connection" in inspect.signature(method).parameters:
            assert method not in verbs._VERBS, name


async def test_a_verb_is_done_again_after_a_conflict_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few times; then the conflict is told. Anything else is told at once."""
    monkeypatch.setattr(verbs, "PAUSE_S", 0.0)
    tried: list[str] = []

    @verb
    async def gives_way(times: int, error: Exception) -> str:
        tried.append("")
        if len(tried) <= times:
            raise error
        return "done"

    assert await gives_way(verbs.TRIES - 1, StoreConflict("once more")) == "done"
    assert len(tried) == verbs.TRIES
    tried.clear()
    with pytest.raises(StoreConflict):
        await gives_way(verbs.TRIES, StoreConflict("again and again"))
    assert len(tried) == verbs.TRIES
    tried.clear()
    with pytest.raises(ValueError, match="no conflict"):
        await gives_way(9, ValueError("no conflict"))
    assert len(tried) == 1
