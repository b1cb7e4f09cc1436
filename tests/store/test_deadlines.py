"""Every execution ends in time, with the reason that is true (L1, L5)."""

import asyncio

import pytest
from sqlalchemy import update

from agent_runner.status.failures import Code
from agent_runner.status.log.log import render
from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.lists.queries import ExecutionQuery
from agent_runner.status.store.records import CreateVerdict
from agent_runner.status.store.run_records import NewDelta, Outcome, RunBeat, RunnerVerdict
from agent_runner.status.store.schema import executions
from agent_runner.status.store.store import Store
from agent_runner.status.timeouts import Timeouts
from tests.store.conftest import Clock, Flow
from tests.support.tables import change


async def run_to(store: Store, clock: Clock, seconds: float, *, period_s: float = 1.0) -> None:
    """Let time pass with a sweep every second, as in production."""
    until = clock.at + seconds
    while clock.at < until:
        clock.advance(min(period_s, until - clock.at))
        await store.tick(period_s=period_s)


async def ended(store: Store, id: str) -> tuple[Phase, str, str]:
    found = await store.state(id)
    assert found is not None
    execution, state = found
    status = render(state)
    assert status["phase"] == execution.phase.wire_name
    return execution.phase, execution.error_code, str(status.get("error", ""))


async def test_nobody_claims(store: Store, flow: Flow, clock: Clock) -> None:
    """Schedule-to-start: E101 at the deadline and not before, saying that no worker ever connected."""
    await store.tick(period_s=1)
    execution = await flow.created()
    await store.dispatched(execution.id)
    await run_to(store, clock, 59)
    assert (await flow.facts(execution.id)).phase is Phase.PENDING
    await run_to(store, clock, 2)
    phase, code, error = await ended(store, execution.id)
    assert (phase, code) == (Phase.FAILED, "E101")
    assert "No worker available to execute activity" in error
    assert "no worker ever connected" in error
    assert error.endswith("[E101 SCHEDULE_TO_START]")


async def test_a_resend_does_not_move_schedule_to_start(store: Store, flow: Flow, clock: Clock) -> None:
    """Re-sends come at 1/3 and 2/3 of schedule-to-start, and the clock keeps running from the first publish."""
    await store.tick(period_s=1)
    execution = await flow.created()
    await store.dispatched(execution.id)
    resent = []
    for second in range(1, 60):
        await run_to(store, clock, 1)
        for due in await store.due_for_dispatch():
            await store.dispatched(due.id)
            resent.append(second)
    assert resent == [20, 40]
    await run_to(store, clock, 1.5)
    assert (await ended(store, execution.id))[1] == "E101"


async def test_an_unstamped_row_is_published_again(store: Store, flow: Flow, clock: Clock) -> None:
    """A server that died between the row and the message leaves a row that another one finds after 10 s."""
    execution = await flow.created()
    assert await store.due_for_dispatch() == []
    clock.advance(10.1)
    assert [e.id for e in await store.due_for_dispatch()] == [execution.id]


async def test_silence(store: Store, flow: Flow, clock: Clock) -> None:
    """Heartbeat: a beat moves the deadline; silence ends E102 and keeps what was said."""
    await store.tick(period_s=1)
    execution = (await flow.claimed()).execution
    assert execution is not None
    said = NewDelta(kind="message", payload='{"id":"a1","type":"MESSAGE_AI","content":"so far"}')
    await store.append(execution.handle, 1, 0, [said])
    await run_to(store, clock, 20)
    progress = {"events_processed": 7, "messages": 1, "tool_calls": 0}
    await store.beat("w1", [RunBeat(handle=execution.handle, fence=1, progress=progress)])
    await run_to(store, clock, 29)
    assert (await flow.facts(execution.id)).phase is Phase.IN_PROGRESS
    await run_to(store, clock, 2)
    phase, code, error = await ended(store, execution.id)
    assert (phase, code) == (Phase.FAILED, "E102")
    assert "Activity stopped sending heartbeat (worker may have crashed)" in error
    assert "it had got to 2 messages and 0 tool calls, 7 events processed at the last beat" in error
    found = await store.state(execution.id)
    assert found is not None
    contents = [m["content"] for m in render(found[1])["messages"]]
    assert contents[:2] == ["hello", "so far"]


async def test_start_to_close_and_schedule_to_close(store: Store, flow: Flow, clock: Clock) -> None:
    """Start-to-close is swept after the settle grace; where both passed the earlier is the reason."""
    await store.tick(period_s=1)
    limits = Timeouts(start_to_close_s=600)
    execution = (await flow.claimed(timeouts=limits)).execution
    assert execution is not None
    for _ in range(62):
        await run_to(store, clock, 10, period_s=5)
        await store.beat("w1", [RunBeat(handle=execution.handle, fence=1, progress={})])
    assert (await ended(store, execution.id))[1] == "E104"


async def test_an_unpublished_row_falls_to_schedule_to_close(store: Store, flow: Flow, clock: Clock) -> None:
    """A row that nobody could publish still ends (L1)."""
    await store.tick(period_s=1)
    execution = await flow.created()
    await run_to(store, clock, 902, period_s=4)
    assert (await ended(store, execution.id))[1] == "E105"


async def test_worker_lost_after_the_grace_unless_it_is_back(store: Store, flow: Flow, clock: Clock) -> None:
    """A stream that ended is E103 after the grace; a HELLO in between clears it."""
    await store.tick(period_s=1)
    hello = {"queue": "runner", "role": "worker", "hostname": "h", "pid": 1, "slots": 5, "name": "w@h", "version": "1"}
    await store.hello(incarnation="w1", **hello)  # type: ignore[arg-type]
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.disconnected("w1", 3.0)
    await run_to(store, clock, 2)
    await store.hello(incarnation="w1", **hello)  # type: ignore[arg-type]
    await run_to(store, clock, 3)
    assert (await flow.facts(execution.id)).phase is Phase.IN_PROGRESS
    await store.disconnected("w1", 3.0)
    await run_to(store, clock, 4)
    _, code, error = await ended(store, execution.id)
    assert code == "E103"
    assert "was not back within 3 s" in error
    assert "w@h" in error


async def test_a_reported_exit_needs_no_grace(store: Store, flow: Flow) -> None:
    """The supervisor's report ends the runs of that process, and its prefork children's, at once."""
    own, child = (await flow.claimed("w1")).execution, (await flow.claimed("w1.77")).execution
    other = (await flow.claimed("w10")).execution
    assert own is not None
    assert child is not None
    assert other is not None
    lost = await store.exited("w1", "signal 9: usually out of memory")
    assert {e.id for e in lost} == {own.id, child.id}
    _, code, error = await ended(store, own.id)
    assert code == "E103"
    assert "signal 9" in error
    assert (await flow.facts(other.id)).phase is Phase.IN_PROGRESS


async def test_amnesty_after_nobody_swept(store: Store, flow: Flow, clock: Clock) -> None:
    """A gap in the sweeping moves heartbeat and schedule-to-start, so that a server restart invents no failure."""
    await store.tick(period_s=1)
    running = (await flow.claimed()).execution
    waiting = await flow.created()
    await store.dispatched(waiting.id)
    assert running is not None
    clock.advance(100)
    assert (await store.tick(period_s=1)).resumed
    await run_to(store, clock, 29)
    assert (await flow.facts(running.id)).phase is Phase.IN_PROGRESS
    assert (await flow.facts(waiting.id)).phase is Phase.PENDING
    await store.beat("w1", [RunBeat(handle=running.handle, fence=1, progress={})])
    await run_to(store, clock, 32)
    assert (await ended(store, waiting.id))[1] == "E101"
    assert (await ended(store, running.id))[1] == "E102"


async def test_a_session_runs_one_at_a_time_in_order(store: Store, flow: Flow) -> None:
    """FIFO by the store: each end admits the next; a cancel of a waiting one leaves the order of the others."""
    first = await flow.executable(session_id="ses-1")
    second, third = await flow.created(session_id="ses-1"), await flow.created(session_id="ses-1")
    assert (second.step, third.step) == (Step.WAITING, Step.WAITING)
    fourth = await flow.created(session_id="ses-1")
    await store.request_cancel(third.id, "test")
    claimed = await store.claim(first.id, "c1", "w1")
    assert claimed.execution is not None
    settled = await store.settle(claimed.execution.handle, 1, 0, [], "", Outcome(phase=Phase.COMPLETED))
    assert settled.promoted == second.id
    assert (await flow.facts(second.id)).step is Step.ENSURE_THREAD
    assert (await store.fail(second.id, Code.SYSTEM, {})).promoted == fourth.id


async def test_simultaneous_creates_of_a_session_leave_nobody_behind(store: Store, flow: Flow) -> None:
    """Creates racing with ends: exactly one holds the session, and all come to their turn."""
    rows = [await flow.created(session_id="ses-r")]
    rows += await asyncio.gather(*[flow.created(session_id="ses-r") for _ in range(5)])
    done: set[str] = set()
    for _ in rows:
        facts = [await flow.facts(r.id) for r in rows]
        turn = [f for f in facts if f.step is Step.ENSURE_THREAD]
        assert len(turn) == 1
        _, extra = await asyncio.gather(store.fail(turn[0].id, Code.SYSTEM, {}), flow.created(session_id="ses-r"))
        done.add(turn[0].id)
        await store.request_cancel(extra.id, "test")
    assert done == {r.id for r in rows}


async def test_thread_wait(store: Store, flow: Flow, clock: Clock) -> None:
    """E107 names the execution in front."""
    await store.tick(period_s=1)
    front = (await flow.claimed(session_id="ses-1", timeouts=Timeouts(heartbeat_s=500))).execution
    behind = await flow.created(session_id="ses-1", timeouts=Timeouts(thread_wait_s=20))
    await run_to(store, clock, 21)
    _, code, error = await ended(store, behind.id)
    assert code == "E107"
    assert front is not None
    assert front.id in error


@pytest.mark.parametrize(
    ("phase", "code", "expected"),
    [
        (Phase.COMPLETED, None, Phase.COMPLETED),
        (Phase.FAILED, Code.START_TO_CLOSE, Phase.CANCELLED),
        (Phase.FAILED, Code.APPLICATION, Phase.FAILED),
        (Phase.CANCELLED, Code.CANCELLED, Phase.CANCELLED),
    ],
)
async def test_precedence_while_a_cancel_is_pending(
    store: Store, flow: Flow, phase: Phase, code: Code | None, expected: Phase
) -> None:
    """A completion stays one; an attempt's timeout becomes the cancel; an error of its own stays an error."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.request_cancel(execution.id, "alice")
    beats = await store.beat("w1", [RunBeat(handle=execution.handle, fence=1, progress={})])
    assert beats[execution.handle, 1] is RunnerVerdict.CANCEL
    settled = await store.settle(execution.handle, 1, 0, [], "", Outcome(phase=phase, code=code))
    assert settled.execution is not None
    assert settled.execution.phase is expected


async def test_cancel(store: Store, flow: Flow, clock: Clock) -> None:
    """Pending: at once. Running with a dead owner: at the cancel timeout. Twice: the first one counts."""
    await store.tick(period_s=1)
    pending = await flow.created()
    cancelled = await store.request_cancel(pending.id, "alice")
    assert cancelled is not None
    assert cancelled.phase is Phase.CANCELLED
    running = (await flow.claimed()).execution
    assert running is not None
    await store.request_cancel(running.id, "alice")
    await run_to(store, clock, 5)
    await store.request_cancel(running.id, "bob")
    await run_to(store, clock, 6)
    phase, code, error = await ended(store, running.id)
    assert (phase, code) == (Phase.CANCELLED, "E401")
    assert "alice" in error


async def test_nothing_changes_after_the_end(store: Store, flow: Flow, clock: Clock) -> None:
    """L2: cancel, fail, exit reports, sweeps and messages after the terminal row are without effect."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.settle(execution.handle, 1, 0, [], "", Outcome(phase=Phase.COMPLETED))
    before, log = await flow.facts(execution.id), await flow.log(execution.id)
    await store.request_cancel(execution.id, "late")
    await store.fail(execution.id, Code.WORKER_LOST, {})
    await store.exited("w1", "signal 9")
    await store.dispatched(execution.id)
    assert not await store.withdraw(execution.id)
    assert not (await store.claim(execution.id, "c1", "w1")).granted
    clock.advance(10_000)
    await store.tick(period_s=1)
    assert await flow.facts(execution.id) == before
    assert await flow.log(execution.id) == log


async def test_idempotency_key(store: Store, flow: Flow) -> None:
    """One key, one execution, also when both calls come at once."""
    news = [flow.new(idempotency_key="k1") for _ in range(4)]
    created = await asyncio.gather(*[store.create(new) for new in news])
    assert sorted(c.verdict.value for c in created) == ["created", "known", "known", "known"]
    assert len({c.execution.id for c in created if c.execution}) == 1


async def test_withdraw_only_what_nobody_saw(store: Store, flow: Flow) -> None:
    """A create that could not be published leaves no row; a published one stays."""
    gone, kept = await flow.created(), await flow.created()
    await store.dispatched(kept.id)
    assert await store.withdraw(gone.id)
    assert not await store.withdraw(kept.id)
    assert await store.get(gone.id) is None
    taken = await store.create(flow.new(id=kept.id))
    assert taken.verdict is CreateVerdict.ID_TAKEN


async def test_pages_are_stable_under_inserts(store: Store, flow: Flow) -> None:
    """Newest first; what is created between two pages appears on neither twice."""
    made = [(await flow.created(session_id=f"s{n}")).id for n in range(5)]
    first = await store.list(ExecutionQuery(page_size=2))
    await flow.created()
    second = await store.list(ExecutionQuery(page_size=2, page_token=first.next_token))
    third = await store.list(ExecutionQuery(page_size=2, page_token=second.next_token))
    assert [e.id for page in (first, second, third) for e in page.executions] == made[::-1]
    assert (first.total, third.next_token) == (5, "")
    with pytest.raises(ValueError, match="page_token"):
        await store.list(ExecutionQuery(page_token="nonsense"))


async def test_a_row_that_cannot_be_told_about_ends_and_holds_up_nobody(store: Store, flow: Flow, clock: Clock) -> None:
    """One broken row does not stop the sweep: it ends without its facts, and the others end as usual (L1)."""
    await store.tick(period_s=1)
    broken = (await flow.claimed("w1")).execution
    fine = (await flow.claimed("w2")).execution
    assert broken is not None
    assert fine is not None
    await change(store, update(executions).where(executions.c.handle == broken.handle).values(progress="no JSON"))
    await run_to(store, clock, 31)
    assert (await ended(store, fine.id))[1] == "E102"
    log = await store.read_log(broken.id)
    assert log[-1].payload["error_code"] == "E102"
