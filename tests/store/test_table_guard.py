"""No write leaves the table of transitions: what the head of `status/phases.py` says, held by the database itself.

All tests of the store and of the model run on databases like these, so every statement of ours passes here or fails."""

import pytest
from sqlalchemy import Executable, insert, text, update
from sqlalchemy.exc import DBAPIError

from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.executions.ending import E
from agent_runner.status.store.schema import executions
from agent_runner.status.store.store import Store
from tests.store.conftest import Flow
from tests.store.table_guard import REFUSED
from tests.support.tables import change, rows


async def whole_row(store: Store, id: str) -> dict[str, object]:
    (row,) = await rows(store, executions.select().where(E.id == id))
    computed = {column.name for column in executions.columns if column.computed is not None}
    return {name: value for name, value in row._mapping.items() if name not in computed | {"handle"}}


STRAYS: dict[str, Executable] = {
    "raw SQL": text("update executions set step = 'settled' where id = :id"),
    "raw SQL, phase only": text("UPDATE executions SET phase = 3 WHERE id = :id"),
    "raw SQL behind a comment": text("/* as always */ update executions set fence = fence + 1 where id = :id"),
    "values()": update(executions).where(E.id == "aex-1").values(step=Step.RUNNING.value),
    "a column as key": update(executions).where(E.id == "aex-1").values({E.phase: 2}),
    "the table's own update()": executions.update().where(executions.c.id == "aex-1").values(fence=7),
    "a list of tuples": update(executions).where(E.id == "aex-1").ordered_values((E.step, "execute")),
    "parameters beside it": update(executions).where(E.id == "aex-1").values(phase=text("4")),
}


@pytest.mark.parametrize("how", STRAYS)
async def test_an_update_that_is_no_edge_is_refused(store: Store, flow: Flow, how: str) -> None:
    """However it is written; the row stays as it was."""
    await flow.created(id="aex-1")
    before = await whole_row(store, "aex-1")
    stray, given = STRAYS[how], {"id": "aex-1"} if "SQL" in how else {}
    with pytest.raises(DBAPIError, match=REFUSED):
        await change(store, stray, values=given)
    assert await whole_row(store, "aex-1") == before


@pytest.mark.parametrize("begins", [{"step": "running"}, {"phase": 3}, {"fence": 1}, {"step": "settled", "phase": 3}])
async def test_a_row_that_begins_in_the_middle_is_refused(store: Store, flow: Flow, begins: dict[str, object]) -> None:
    """Nothing is born running, ended or owned, also by an insert of many rows at once."""
    await flow.created(id="aex-1")
    row = await whole_row(store, "aex-1") | {"id": "aex-2"} | begins
    for statement, values in ((insert(executions), [row]), (insert(executions).values(**row), {})):
        with pytest.raises(DBAPIError, match=REFUSED):
            await change(store, statement, values=values)


async def test_an_end_is_not_left_and_no_edge_is_half_taken(store: Store, flow: Flow) -> None:
    """The right step with the wrong fence, or the right fence with another's phase, is no edge."""
    await flow.created(id="aex-1")
    await store.request_cancel("aex-1", "a test")
    for stray in ({"phase": int(Phase.COMPLETED)}, {"step": "execute"}, {"fence": 9}):
        with pytest.raises(DBAPIError, match=REFUSED):
            await change(store, update(executions).where(E.id == "aex-1").values(**stray))
    await flow.created(id="aex-3")
    for half in (
        {"step": "thread_started", "fence": E.fence + 1},
        {"step": "thread_started", "phase": int(Phase.IN_PROGRESS)},
        {"step": "settled", "phase": int(Phase.CANCELLED)},
        {"step": "settled", "phase": int(Phase.COMPLETED), "fence": E.fence + 1},
    ):
        with pytest.raises(DBAPIError, match=REFUSED):
            await change(store, update(executions).where(E.id == "aex-3").values(**half))
