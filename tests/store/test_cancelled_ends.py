"""An end in CANCELLED is E401 in the row and in the log, whoever says it and with whatever code (L6)."""

import pytest
from sqlalchemy import update

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import Outcome, RunnerVerdict
from agent_runner.status.store.schema import executions
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow
from tests.store.test_runner_calls import Text
from tests.support.tables import change


@pytest.mark.parametrize("code", [None, Code.CANCELLED, Code.APPLICATION])
async def test_a_settle_as_cancelled(store: Store, flow: Flow, text: Text, code: Code | None) -> None:
    """Row and log agree, the log has no gap, and its last row is the end."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    answer = await store.settle(execution.handle, 1, 0, [text("x")], "", Outcome(phase=Phase.CANCELLED, code=code))
    assert answer.accepted
    assert answer.execution is not None
    await agrees(store, flow, execution.id)


async def test_a_status_update_as_cancelled(store: Store, flow: Flow) -> None:
    """The published contract's updateStatus can say it too."""
    execution = await flow.created()
    await store.merge_status(execution.id, {"phase": Phase.CANCELLED.wire_name})
    await agrees(store, flow, execution.id)


async def agrees(store: Store, flow: Flow, id: str) -> None:
    found = await store.state(id)
    assert found is not None
    execution, state = found
    assert (execution.phase, execution.error_code) == (Phase.CANCELLED, "E401")
    assert (state.phase, state.error_code, state.seq) == (Phase.CANCELLED, "E401", execution.last_seq)
    log = await flow.log(id)
    assert [seq for seq, _ in log] == list(range(1, execution.last_seq + 1))
    assert log[-1][1] == "phase"


async def test_an_append_that_is_repeated_while_a_cancel_is_pending(store: Store, flow: Flow, text: Text) -> None:
    """The answer to a repeated call is the answer to the first one: cancel."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.request_cancel(execution.id, "alice")
    first = await store.append(execution.handle, 1, 0, [text("x")])
    again = await store.append(execution.handle, 1, 0, [text("x")])
    assert (first.verdict, again.verdict) == (RunnerVerdict.CANCEL, RunnerVerdict.CANCEL)


async def test_a_cancel_that_was_due_first_is_the_reason_after_an_outage(
    store: Store, flow: Flow, clock: Clock
) -> None:
    """L5: both deadlines passed while nobody swept; the cancel was the earlier one, and the user asked for it."""
    await store.tick(period_s=1)
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.request_cancel(execution.id, "alice")
    later = {"due_schedule_to_close": clock.at + 20, "due_start_to_close": clock.at + 5000}
    # As after a hand-back and a second claim.
    await change(store, update(executions).where(executions.c.id == execution.id).values(**later))
    clock.advance(100)
    assert (await store.tick(period_s=1)).resumed
    clock.advance(5)
    assert [e.id for e in (await store.tick(period_s=1)).ended] == [execution.id]
    await agrees(store, flow, execution.id)
