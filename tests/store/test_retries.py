"""Attempts in the store: which failure is followed by another one, when it may begin, and what goes on meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase, Step
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import Claimed, NewDelta, Outcome, RunBeat, RunnerVerdict
from agent_runner.status.store.store import Store
from agent_runner.status.timeouts import Timeouts
from tests.store.conftest import Clock, Flow

THREE = RetryPolicy(maximum_attempts=3, initial_interval_s=2, backoff_coefficient=3, maximum_interval_s=5)
RUNNING = frozenset({Step.EXECUTE, Step.RUNNING})
Text = Callable[[str], NewDelta]


def failed(code: Code, **facts: Any) -> Outcome:
    return Outcome(phase=Phase.FAILED, code=code, facts=facts)


async def running(flow: Flow, **given: object) -> Execution:
    claimed = (await flow.claimed("w1", **({"retry": THREE} | given))).execution
    assert claimed is not None
    return claimed


async def lose(store: Store, execution: Execution, **given: Any) -> Execution:
    settled = await store.fail(execution.id, Code.WORKER_LOST, {"cause": "signal 9"}, only_steps=RUNNING, **given)
    assert settled.execution is not None
    return settled.execution


async def claim_again(store: Store, clock: Clock, execution: Execution, pause_s: float, name: str) -> Claimed:
    clock.advance(pause_s)
    await store.dispatched(execution.id)
    claimed = await store.claim(execution.id, name, "w2")
    assert claimed.granted, claimed.refusal
    return claimed


async def test_an_attempt_that_is_lost_goes_back_to_the_queue(store: Store, flow: Flow, clock: Clock) -> None:
    """A new fence, the same phase, no owner; the row is due when the pause is over, and each pause is longer."""
    execution = await running(flow)
    lost = await lose(store, execution)
    assert (lost.phase, lost.step, lost.attempt) == (Phase.IN_PROGRESS, Step.EXECUTE, 1)
    assert (lost.fence, lost.owner, lost.dispatched_at) == (execution.fence + 1, "", None)
    assert await store.due_for_dispatch() == []
    clock.advance(2)
    assert [e.id for e in await store.due_for_dispatch()] == [execution.id]
    again = await claim_again(store, clock, execution, 0, "c2")
    assert again.execution is not None
    assert (again.execution.attempt, again.execution.fence) == (2, execution.fence + 2)
    assert (await lose(store, again.execution, attempt=2)).not_before == clock.at + 5


async def test_a_copy_of_the_message_does_not_begin_it_early(store: Store, flow: Flow, clock: Clock) -> None:
    """The pause holds for whatever is delivered in it, and after an outage too."""
    await store.tick(period_s=1)
    execution = await running(flow)
    await lose(store, execution)
    assert not (await store.claim(execution.id, "c2", "w2")).granted
    clock.advance(1.9)
    assert (await store.tick(period_s=0.1)).resumed is False
    assert not (await store.claim(execution.id, "c2", "w2")).granted
    clock.advance(0.1)
    assert (await store.claim(execution.id, "c2", "w2")).granted


async def test_an_outage_does_not_shorten_the_pause(store: Store, flow: Flow, clock: Clock) -> None:
    """The amnesty publishes at once what waits for a worker, but not what waits for its time."""
    await store.tick(period_s=1)
    pause = RetryPolicy(maximum_attempts=2, initial_interval_s=60)
    execution = await running(flow, retry=pause)
    await lose(store, execution)
    clock.advance(30)
    assert (await store.tick(period_s=1)).resumed
    assert await store.due_for_dispatch() == []
    clock.advance(30)
    assert [e.id for e in await store.due_for_dispatch()] == [execution.id]


async def test_the_last_attempt_says_how_it_ends(store: Store, flow: Flow, clock: Clock) -> None:
    """One terminal phase with the last reason; the reasons before it can be read, in the status and in the log."""
    execution = await running(flow, retry=RetryPolicy(maximum_attempts=2, codes=(Code.WORKER_LOST, Code.APPLICATION)))
    await lose(store, execution)
    again = (await claim_again(store, clock, execution, 1, "c2")).execution
    assert again is not None
    ended = await store.settle(again.handle, again.fence, 0, [], "", failed(Code.APPLICATION, original_error="no ink"))
    assert ended.execution is not None
    assert (ended.execution.phase, ended.execution.error_code) == (Phase.FAILED, "E301")
    found = await store.state(execution.id)
    assert found is not None
    state = found[1]
    assert "no ink" in state.error
    assert [(one["attempt"], one["error_code"]) for one in state.attempts] == [(1, "E103")]
    assert "signal 9" in state.attempts[0]["error"]
    assert "signal 9" in "".join(state.messages["attempt-1"]["content"])
    assert [kind for _, kind in await flow.log(execution.id)].count("attempt") == 1


@pytest.mark.parametrize("code", [Code.APPLICATION, Code.START_TO_CLOSE, Code.ANSWER, Code.BUDGET, Code.SKILL])
async def test_by_default_only_what_passes_is_tried_again(store: Store, flow: Flow, code: Code) -> None:
    """A failure that the table does not retry by default is the end, whatever the number of attempts."""
    execution = await running(flow)
    settled = await store.settle(execution.handle, execution.fence, 0, [], "", failed(code))
    assert settled.execution is not None
    assert (settled.execution.phase, settled.execution.error_code) == (Phase.FAILED, code.value)


async def test_a_provider_that_asks_to_wait_is_waited_for(store: Store, flow: Flow, clock: Clock) -> None:
    """E301 with a cause that passes is tried again, not before the time that the provider names."""
    execution = await running(flow)
    busy = failed(Code.APPLICATION, transient=True, retry_after_s=40)
    settled = await store.settle(execution.handle, execution.fence, 0, [], "", busy)
    assert settled.execution is not None
    assert settled.execution.not_before == clock.at + 40


async def test_with_one_attempt_nothing_is_tried_again(store: Store, flow: Flow) -> None:
    """L4: the default."""
    execution = await running(flow, retry=RetryPolicy())
    assert (await lose(store, execution)).phase is Phase.FAILED


async def test_no_attempt_begins_beyond_the_total_time(store: Store, flow: Flow, clock: Clock) -> None:
    """Schedule-to-close spans all attempts: it is never moved, and a pause that reaches it is not begun."""
    execution = await running(flow)
    clock.advance(895)
    assert (await lose(store, execution)).phase is Phase.IN_PROGRESS
    other = await running(flow)
    clock.advance(898)
    assert (await lose(store, other)).error_code == "E103"
    assert [e.id for e in (await store.tick(period_s=1000)).ended] == [execution.id]
    assert (await flow.facts(execution.id)).error_code == "E105"


async def test_each_attempt_has_its_own_clocks(store: Store, flow: Flow, clock: Clock) -> None:
    """Heartbeat and start-to-close begin with its claim; none of the lost one's runs in the pause."""
    await store.tick(period_s=100)
    timeouts = Timeouts(start_to_close_s=100, heartbeat_s=30)
    execution = await running(flow, timeouts=timeouts, retry=RetryPolicy(maximum_attempts=2, initial_interval_s=50))
    clock.advance(30)
    swept = await store.tick(period_s=100)
    assert ([e.id for e in swept.retried], list(swept.ended)) == ([execution.id], [])
    clock.advance(50)
    assert not (await store.tick(period_s=100)).ended
    again = (await claim_again(store, clock, execution, 0, "c2")).execution
    assert again is not None
    clock.advance(29)
    assert not (await store.tick(period_s=100)).ended
    await store.beat("w2", [RunBeat(handle=again.handle, fence=again.fence, progress={})])
    clock.advance(29)
    assert not (await store.tick(period_s=100)).ended
    clock.advance(1)
    assert [e.id for e in (await store.tick(period_s=100)).ended] == [execution.id]


async def test_the_old_owner_writes_nothing_more(store: Store, flow: Flow, clock: Clock, text: Text) -> None:
    """L3: a worker that was only silent is fenced out, in the pause and in the next attempt."""
    execution = await running(flow)
    await lose(store, execution)
    for _ in range(2):
        late = await store.append(execution.handle, execution.fence, 0, [text("late")])
        assert late.verdict is RunnerVerdict.FENCED_OUT
        beats = await store.beat("w1", [RunBeat(handle=execution.handle, fence=execution.fence, progress={})])
        assert set(beats.values()) == {RunnerVerdict.FENCED_OUT}
        outcome = Outcome(phase=Phase.COMPLETED)
        assert not (await store.settle(execution.handle, execution.fence, 0, [], "", outcome)).accepted
        if (await flow.facts(execution.id)).step is Step.EXECUTE:
            await claim_again(store, clock, execution, 2, "c2")


async def test_a_repeated_settle_of_an_attempt_is_told_the_same(store: Store, flow: Flow, clock: Clock) -> None:
    """A reply that got lost ends nothing and begins nothing, before and after the next claim."""
    execution = await running(flow)
    for _ in range(2):
        settled = await store.settle(execution.handle, execution.fence, 0, [], "", failed(Code.WORKER_SHUTDOWN))
        assert settled.accepted
        assert settled.execution is not None
        assert settled.execution.phase is Phase.IN_PROGRESS
    await claim_again(store, clock, execution, 2, "c2")
    assert (await store.settle(execution.handle, execution.fence, 0, [], "", failed(Code.WORKER_SHUTDOWN))).accepted
    assert (await flow.facts(execution.id)).attempt == 2
    assert [kind for _, kind in await flow.log(execution.id)].count("attempt") == 1


async def test_a_late_report_of_an_attempt_ends_no_later_one(store: Store, flow: Flow, clock: Clock) -> None:
    """Celery may report the same loss twice and late: it counts for the attempt whose task failed, and once."""
    execution = await running(flow)
    await lose(store, execution, attempt=1)
    assert not (await store.fail(execution.id, Code.WORKER_LOST, {}, only_steps=RUNNING, attempt=1)).accepted
    await claim_again(store, clock, execution, 2, "c2")
    assert not (await store.fail(execution.id, Code.WORKER_LOST, {}, only_steps=RUNNING, attempt=1)).accepted
    assert (await store.fail(execution.id, Code.WORKER_LOST, {}, only_steps=RUNNING, attempt=2)).accepted


async def test_the_place_in_the_session_stays_with_it(store: Store, flow: Flow, clock: Clock) -> None:
    """One run per thread: what is behind it waits through all attempts, and is next after their end."""
    execution = await running(flow, session_id="ses-r")
    behind = await flow.created(session_id="ses-r")
    await lose(store, execution)
    assert (await flow.facts(behind.id)).step is Step.WAITING
    again = (await claim_again(store, clock, execution, 2, "c2")).execution
    assert again is not None
    settled = await store.settle(again.handle, again.fence, 0, [], "", Outcome(phase=Phase.COMPLETED))
    assert settled.promoted == behind.id


async def test_a_cancel_in_the_pause_is_the_end_at_once(store: Store, flow: Flow, clock: Clock) -> None:
    """Nobody runs it, so nobody is asked; what is behind it is next."""
    execution = await running(flow, session_id="ses-r")
    behind = await flow.created(session_id="ses-r")
    await lose(store, execution)
    cancelled = await store.request_cancel(execution.id, "alice")
    assert cancelled is not None
    assert cancelled.phase is Phase.CANCELLED
    assert (await flow.facts(behind.id)).step is Step.ENSURE_THREAD
    clock.advance(2)
    assert not (await store.claim(execution.id, "c2", "w2")).granted


async def test_a_run_that_is_to_be_cancelled_gets_no_further_attempt(store: Store, flow: Flow) -> None:
    """A pending cancel wins over the loss of its worker."""
    execution = await running(flow)
    await store.request_cancel(execution.id, "alice")
    assert (await lose(store, execution)).phase is Phase.CANCELLED


@pytest.mark.parametrize("strategy", [Multitask.INTERRUPT, Multitask.ROLLBACK])
async def test_a_newer_execution_takes_the_session_in_the_pause(store: Store, flow: Flow, strategy: Multitask) -> None:
    """`interrupt` and `rollback` end what waits for its next attempt, and the newer one begins."""
    execution = await running(flow, session_id="ses-r")
    await lose(store, execution)
    newer = await flow.created(session_id="ses-r", multitask=strategy)
    assert newer.step is Step.ENSURE_THREAD
    assert (await flow.facts(execution.id)).phase is Phase.CANCELLED


async def test_the_next_attempt_begins_where_the_last_one_was(store: Store, flow: Flow, clock: Clock) -> None:
    """At the reported head; its worker is told to look for steps of its own that were not reported."""
    execution = await running(flow, session_id="ses-r")
    await store.append(execution.handle, execution.fence, 0, [], "ck-3")
    await lose(store, execution)
    again = await claim_again(store, clock, execution, 2, "c2")
    assert (again.head_checkpoint_id, again.untold_execution_id) == ("ck-3", execution.id)
    assert again.go_on_if_found


async def test_an_execution_of_an_older_release_has_one_attempt(store: Store, flow: Flow) -> None:
    """A row without a policy reads as one attempt."""
    assert RetryPolicy.from_json("", 0) == RetryPolicy()
    assert (await running(flow, retry=RetryPolicy())).retry == RetryPolicy()


@pytest.mark.parametrize("how", ["exit", "silence", "report"])
async def test_a_worker_lost_in_ensure_thread_is_an_attempt(store: Store, flow: Flow, clock: Clock, how: str) -> None:
    """Nothing of the agent had begun, so the next attempt begins at the start; the late worker is refused, and the
    third loss is the end."""
    await store.tick(period_s=1)
    execution = await flow.created(retry=THREE)
    for attempt, pause_s in ((1, 2.0), (2, 5.0)):
        await lose_in_ensure_thread(store, clock, execution, attempt, how)
        lost = await flow.facts(execution.id)
        assert (lost.step, lost.phase, lost.attempt, lost.fence) == (Step.ENSURE_THREAD, Phase.PENDING, attempt, 0)
        assert not await store.done(execution.id, f"b{attempt}", "thread-late")
        assert not (await store.begin(execution.id, "early", "w9")).granted
        assert (await store.withdraw(execution.id), await store.due_for_dispatch()) == (False, [])
        clock.advance(pause_s)
        assert [one.id for one in await store.due_for_dispatch()] == [execution.id]
    await lose_in_ensure_thread(store, clock, execution, 3, how)
    assert (await flow.facts(execution.id)).phase is Phase.FAILED
    found = await store.state(execution.id)
    assert found is not None
    assert [one["attempt"] for one in found[1].attempts] == [1, 2]


async def lose_in_ensure_thread(store: Store, clock: Clock, execution: Execution, attempt: int, how: str) -> None:
    await store.dispatched(execution.id)
    assert (await store.begin(execution.id, f"b{attempt}", f"w{attempt}")).granted
    if how == "exit":
        assert [one.id for one in await store.exited(f"w{attempt}", "signal 9")] == [execution.id]
    elif how == "report":
        only = frozenset({Step.ENSURE_THREAD, Step.THREAD_STARTED})
        assert (await store.fail(execution.id, Code.WORKER_LOST, {}, only_steps=only, attempt=attempt)).accepted
    else:
        for _ in range(30):  # without an amnesty
            clock.advance(execution.timeouts.ensure_thread_s / 29)
            await store.alive(period_s=1)
        swept = await store.sweep(period_s=1)
        assert [one.id for one in (*swept.retried, *swept.ended)] == [execution.id]


async def test_after_a_loss_in_ensure_thread_the_run_is_a_first_one(store: Store, flow: Flow, clock: Clock) -> None:
    """The claim counts it as the second attempt, and looks in memory for nothing that it had done."""
    execution = await flow.created(retry=THREE)
    await lose_in_ensure_thread(store, clock, execution, 1, "exit")
    clock.advance(2)
    await store.dispatched(execution.id)
    assert (await store.begin(execution.id, "b2", "w2", new_thread_id="t")).done
    claimed = await store.claim(execution.id, "c2", "w2")
    assert claimed.execution is not None
    assert (claimed.execution.attempt, claimed.execution.fence) == (2, 1)
    assert (claimed.resume, claimed.untold_execution_id, claimed.go_on_if_found) == (False, "", False)
    assert claimed.execution.base_checkpoint_id is None or claimed.head_checkpoint_id == ""
