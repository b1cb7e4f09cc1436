"""A second execution of a session that has not ended: it waits, is refused, cancels the others, or removes them."""

import pytest

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase, Step
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.store.records import CreateVerdict, Execution
from agent_runner.status.store.run_records import Claimed, Outcome, RunBeat, RunnerVerdict
from agent_runner.status.store.store import Store
from agent_runner.status.store.turns.several_at_once import KEPT_S
from tests.store.conftest import Clock, Flow

COMPLETED, CANCELLED = Outcome(phase=Phase.COMPLETED), Outcome(phase=Phase.CANCELLED, code=Code.CANCELLED)


def run(claimed: Claimed) -> Execution:
    assert claimed.execution is not None
    return claimed.execution


async def settled(store: Store, claimed: Claimed, head: str, outcome: Outcome) -> str:
    """Ends the run. The id of the execution that is admitted by that."""
    one = run(claimed)
    answer = await store.settle(one.handle, one.fence, 0, [], head, outcome)
    assert answer.accepted
    return answer.promoted


async def test_a_refused_one_leaves_no_trace(store: Store, flow: Flow) -> None:
    """Neither a row nor a change of the first."""
    first = await flow.claimed(session_id="s")
    refused = await store.create(flow.new(session_id="s", multitask=Multitask.REJECT))
    assert (refused.verdict, refused.execution) == (CreateVerdict.SESSION_BUSY, None)
    assert [one.id for one in await store.runs_of_session("s", limit=9)] == [run(first).id]
    await settled(store, first, "h1", COMPLETED)
    assert (await store.create(flow.new(session_id="s", multitask=Multitask.REJECT))).execution is not None


async def test_interrupt_cancels_all_before_it_and_keeps_their_work(store: Store, flow: Flow) -> None:
    """Those that wait end at once; the one that runs is told with its next beat, and the new one begins after it."""
    first = await flow.claimed(session_id="s")
    waiting = await flow.created(session_id="s")
    made = await store.create(flow.new(session_id="s", multitask=Multitask.INTERRUPT))
    assert made.execution is not None
    assert made.execution.step is Step.WAITING
    assert {one.id: one.phase for one in made.superseded} == {
        run(first).id: Phase.IN_PROGRESS,
        waiting.id: Phase.CANCELLED,
    }
    beat = RunBeat(handle=run(first).handle, fence=run(first).fence, progress={})
    assert set((await store.beat("w1", [beat])).values()) == {RunnerVerdict.CANCEL}
    assert await settled(store, first, "h1", CANCELLED) == made.execution.id
    assert await store.session_memory("s") == ("h1", made.execution.id)


async def test_pages_of_runs_that_failed_in_one_way(store: Store, flow: Flow) -> None:
    """A page is full as long as there are any of that kind, however many of another lie between."""
    too_long = Outcome(phase=Phase.FAILED, code=Code.START_TO_CLOSE)
    broken = Outcome(phase=Phase.FAILED, code=Code.APPLICATION, facts={"original_error": "no"})
    made = []
    for outcome in (broken, too_long, too_long, broken, COMPLETED):
        made.append(await flow.claimed(session_id="s"))
        await settled(store, made[-1], "", outcome)
    first, second, third, fourth = [run(one).id for one in made[:4]]
    codes, failed = [Code.START_TO_CLOSE.value], [Phase.FAILED]
    others = [await store.runs_of_session("s", limit=1, offset=at, phases=failed, without_codes=codes) for at in (0, 1)]
    assert [[one.id for one in page] for page in others] == [[fourth], [first]]
    assert [one.id for one in await store.runs_of_session("s", limit=2, codes=codes)] == [third, second]


@pytest.mark.promise("5.10")
async def test_rollback_removes_what_it_cancels(store: Store, flow: Flow, clock: Clock) -> None:
    """The session's head is again where the first began, whatever it still reports; its row goes a little later."""
    before = await flow.claimed(session_id="s")
    await settled(store, before, "h0", COMPLETED)
    first = await flow.claimed(session_id="s")
    await store.append(run(first).handle, run(first).fence, 0, [], "h1")
    made = await store.create(flow.new(session_id="s", multitask=Multitask.ROLLBACK))
    assert made.execution is not None
    assert await settled(store, first, "h2", COMPLETED) == made.execution.id
    assert (await store.session_memory("s"))[0] == "h0"
    assert [one.id for one in await store.runs_of_session("s", limit=9)] == [made.execution.id, run(before).id]
    assert await store.remove_rolled_back() == 0
    clock.advance(KEPT_S + 1)
    assert await store.remove_rolled_back() == 1
    assert await store.get(run(first).id) is None


@pytest.mark.parametrize("how", [Multitask.INTERRUPT, Multitask.ROLLBACK])
async def test_what_has_not_begun_makes_room_at_once(store: Store, flow: Flow, how: Multitask) -> None:
    """If nothing runs yet the new one does not wait."""
    waiting = [await flow.created(session_id="s") for _ in range(3)]
    made = await store.create(flow.new(session_id="s", multitask=how))
    assert made.execution is not None
    assert made.execution.step is Step.ENSURE_THREAD
    assert {(await flow.facts(one.id)).phase for one in waiting} == {Phase.CANCELLED}


async def test_a_lost_run_that_was_rolled_back_is_undone_by_the_next(store: Store, flow: Flow, clock: Clock) -> None:
    """Its worker is dead: the next run is told whose checkpoints to remove, and does not go on from them."""
    first = await flow.claimed(session_id="s")
    await store.append(run(first).handle, run(first).fence, 0, [], "h1")
    made = await store.create(flow.new(session_id="s", multitask=Multitask.ROLLBACK))
    assert made.execution is not None
    ended = await store.fail(run(first).id, Code.WORKER_LOST, {}, only_steps=frozenset())
    assert ended.promoted == made.execution.id
    clock.advance(KEPT_S + 1)
    assert await store.remove_rolled_back() == 0
    assert (await store.begin(made.execution.id, "b", "w2")).granted
    assert await store.done(made.execution.id, "b", "thread-1")
    claimed = await store.claim(made.execution.id, "c", "w2")
    assert (claimed.head_checkpoint_id, claimed.untold_execution_id) == ("", "")
    assert list(claimed.rolled_back) == [run(first).id]
    assert await store.remove_rolled_back() == 1


async def test_one_that_begins_later_holds_up_nobody(store: Store, flow: Flow, clock: Clock) -> None:
    """Until its time has come; then it is admitted once, and behind what runs by then."""
    later = await flow.created(session_id="s", after_s=30.0)
    assert later.step is Step.WAITING
    assert await store.admit_due() == []
    now = await flow.claimed(session_id="s")
    clock.advance(31)
    assert await store.admit_due() == []
    assert await settled(store, now, "h1", COMPLETED) == later.id
    alone = await flow.created(session_id="t", after_s=5.0)
    clock.advance(6)
    assert await store.admit_due() == [alone.id]
    assert await store.admit_due() == []
    assert alone.id in [one.id for one in await store.due_for_dispatch()]


async def test_a_session_takes_the_thread_that_it_is_given(store: Store, flow: Flow) -> None:
    """Unless it has one already: a session has one thread."""
    one = await flow.created(session_id="s", thread_id="chosen")
    await store.dispatched(one.id)
    assert (await store.begin(one.id, "b", "w1")).thread_id == "chosen"
    await flow.created(session_id="s", thread_id="another")
    assert (await store.session_facts("s"))[0] == "chosen"
