"""Runner calls are fenced and may be repeated (L3, L4, L6)."""

import asyncio
from collections.abc import Callable

import pytest

from agent_runner.status.failures import Code
from agent_runner.status.log.log import render
from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.errors import OtherKeysWorker
from agent_runner.status.store.run_records import NewDelta, Outcome, RunBeat, RunnerVerdict
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow

Text = Callable[[str], NewDelta]
COMPLETED = Outcome(phase=Phase.COMPLETED)


async def test_begin_answers_its_own_delivery_again_and_no_other(store: Store, flow: Flow) -> None:
    """A repeated begin is granted again; another delivery is refused."""
    execution = await flow.created()
    await store.dispatched(execution.id)
    assert (await store.begin(execution.id, "b1", "w1")).granted
    assert (await store.begin(execution.id, "b1", "w1")).granted
    assert not (await store.begin(execution.id, "b2", "w2")).granted


async def test_a_begin_may_end_the_step_too(store: Store, flow: Flow, clock: Clock) -> None:
    """With a name for a new thread it is begin and done in one: the same thread is told again, also to the session's
    next turn, and to no other delivery; the clock of the second step runs from then on."""
    execution = await flow.created()
    await store.dispatched(execution.id)
    clock.advance(50)
    begun = await store.begin(execution.id, "b1", "w1", new_thread_id="once")
    thread = f"thread-{execution.session_id}"
    assert (begun.granted, begun.done, begun.thread_id) == (True, True, thread)
    again = await store.begin(execution.id, "b1", "w1", new_thread_id="other")
    assert (again.granted, again.done, again.thread_id) == (True, True, thread)
    assert not (await store.begin(execution.id, "b2", "w2", new_thread_id="other")).granted
    assert not await store.done(execution.id, "b1", "another")
    stored = await flow.facts(execution.id)
    assert (stored.step, stored.thread_id) == (Step.EXECUTE, thread)
    assert (await store.session_facts(execution.session_id))[0] == thread
    clock.advance(50)  # longer than the first step's clock would have run
    assert (await store.claim(execution.id, "c1", "w1")).granted


async def test_a_begin_without_a_session_takes_the_given_thread(store: Store, flow: Flow) -> None:
    """Such a thread is used once."""
    execution = await flow.created(session_id="")
    await store.dispatched(execution.id)
    begun = await store.begin(execution.id, "b1", "w1", new_thread_id="once")
    assert (begun.done, begun.thread_id) == (True, "once")
    assert (await flow.facts(execution.id)).thread_id == "once"


async def test_done_may_be_repeated_and_stores_the_thread_for_the_session(store: Store, flow: Flow) -> None:
    """The session's next turn is told the thread of the first."""
    execution = await flow.executable()
    assert await store.done(execution.id, "b1", "thread-1")
    assert not await store.done(execution.id, "b1", "thread-other")
    assert (await store.session_facts(execution.session_id))[0] == "thread-1"


async def test_the_same_claim_gets_the_same_fence(store: Store, flow: Flow) -> None:
    """A claim whose reply was lost is not a second claim."""
    claimed = await flow.claimed()
    assert claimed.execution is not None
    again = await store.claim(claimed.execution.id, "c1", "w1")
    assert (again.granted, again.execution and again.execution.fence) == (True, claimed.execution.fence)
    assert [kind for _, kind in await flow.log(claimed.execution.id)] == ["message", "phase", "phase"]


async def test_one_of_many_claims_wins(store: Store, flow: Flow) -> None:
    """However often the message is delivered, one delivery owns the run (L4)."""
    execution = await flow.executable()
    claims = await asyncio.gather(*[store.claim(execution.id, f"c{n}", f"w{n}") for n in range(8)])
    assert [c.granted for c in claims].count(True) == 1
    assert (await flow.facts(execution.id)).attempt == 1


async def test_a_claim_after_schedule_to_start_is_refused(store: Store, flow: Flow, clock: Clock) -> None:
    """The database's clock refuses a late claim even before the sweeper came by."""
    execution = await flow.executable()
    clock.advance(60.5)
    refused = await store.claim(execution.id, "c1", "w1")
    assert not refused.granted
    assert "deadline" in refused.refusal


async def test_an_append_is_stored_once(store: Store, flow: Flow, text: Text) -> None:
    """The same deltas again are answered OK and not stored again; a gap is answered with the number expected."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    say = [NewDelta(kind="message", payload='{"id":"a1","type":"MESSAGE_AI","content":""}'), text("one")]
    for _ in range(2):
        appended = await store.append(execution.handle, 1, 0, say)
        assert (appended.verdict, appended.next) == (RunnerVerdict.OK, 2)
    gap = await store.append(execution.handle, 1, 7, [text("seven")])
    assert (gap.verdict, gap.next) == (RunnerVerdict.GAP, 2)
    assert await flow.log(execution.id) == [(1, "message"), (2, "phase"), (3, "phase"), (4, "message"), (5, "text")]


@pytest.mark.parametrize("fence", [0, 2, 99])
async def test_a_wrong_fence_writes_nothing(store: Store, flow: Flow, text: Text, fence: int) -> None:
    """Append, beat, settle and hand-back of a stranger are refused."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    assert (await store.append(execution.handle, fence, 0, [text("x")])).verdict is RunnerVerdict.FENCED_OUT
    beats = await store.beat("w1", [RunBeat(handle=execution.handle, fence=fence, progress={})])
    assert beats[execution.handle, fence] is RunnerVerdict.FENCED_OUT
    assert not (await store.settle(execution.handle, fence, 0, [], "", COMPLETED)).accepted
    assert not (await store.hand_back(execution.handle, fence, 0, [], "", "deploy")).accepted
    assert len(await flow.log(execution.id)) == 3


async def test_a_repeated_settle_answers_the_stored_outcome(store: Store, flow: Flow, text: Text) -> None:
    """The settle whose reply was lost is told how it ended, and nothing is written twice (L2)."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    said = [NewDelta(kind="message", payload='{"id":"a1","type":"MESSAGE_AI","content":""}'), text("bye")]
    first = await store.settle(execution.handle, 1, 0, said, "ck", COMPLETED)
    again = await store.settle(execution.handle, 1, 0, said, "ck", Outcome(phase=Phase.FAILED))
    assert first.accepted
    assert again.accepted
    assert again.execution is not None
    assert again.execution.phase is Phase.COMPLETED
    assert (await store.append(execution.handle, 1, 2, [text("late")])).verdict is RunnerVerdict.FENCED_OUT
    log = await flow.log(execution.id)
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
    assert log[-1][1] == "phase"


async def test_a_settle_with_a_gap_is_told_where_to_start(store: Store, flow: Flow, text: Text) -> None:
    """A settle that does not continue what is stored changes nothing and says the number expected."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    answer = await store.settle(execution.handle, 1, 3, [text("x")], "", COMPLETED)
    assert (answer.accepted, answer.next) == (False, 0)
    await store.append(execution.handle, 1, 0, [NewDelta(kind="note", payload="{}")])
    answer = await store.settle(execution.handle, 1, 3, [text("x")], "", COMPLETED)
    assert (answer.accepted, answer.next) == (False, 1)
    assert (await flow.facts(execution.id)).step is Step.RUNNING


async def test_a_hand_back_keeps_the_attempt_and_raises_the_fence(store: Store, flow: Flow, text: Text) -> None:
    """After a hand-back another worker resumes the same attempt from the head; the first is fenced out."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.append(execution.handle, 1, 0, [NewDelta(kind="note", payload="{}")], "ck-7")
    handed = await store.hand_back(execution.handle, 1, 1, [], "ck-8", "deploy")
    assert handed.accepted
    assert (await store.hand_back(execution.handle, 1, 1, [], "ck-8", "deploy")).accepted
    assert (await store.append(execution.handle, 1, 1, [text("x")])).verdict is RunnerVerdict.FENCED_OUT
    await store.dispatched(execution.id)
    again = await store.claim(execution.id, "c2", "w2")
    assert again.granted
    assert again.resume
    assert again.execution is not None
    assert (again.execution.fence, again.execution.attempt, again.execution.runner_seq) == (3, 1, 1)
    assert again.head_checkpoint_id == "ck-8"
    assert (await flow.facts(execution.id)).phase is Phase.IN_PROGRESS


async def test_status_is_the_fold_of_the_log_through_snapshots(store: Store, flow: Flow) -> None:
    """A snapshot in the middle changes nothing that a reader sees (L6)."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.append(
        execution.handle, 1, 0, [NewDelta(kind="message", payload='{"id":"a1","type":"MESSAGE_AI","content":""}')]
    )
    big = "x" * 200_000
    for n in range(1, 4):
        await store.append(execution.handle, 1, n, [NewDelta(kind="text", payload=f'{{"id":"a1","text":"{big}"}}')])
        await store.snapshot_if_due(execution.id)
    assert (await flow.facts(execution.id)).snapshot_seq > 0
    found = await store.state(execution.id)
    assert found is not None
    assert render(found[1])["messages"][1]["content"] == big * 3


async def test_the_servers_end_is_not_the_owners_settle(store: Store, flow: Flow) -> None:
    """A run that the server ended refuses its owner's settle instead of answering as if it had been accepted."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.fail(execution.id, Code.HEARTBEAT, {})
    answer = await store.settle(execution.handle, 1, 0, [], "", COMPLETED)
    assert not answer.accepted
    assert answer.execution is not None
    assert answer.execution.phase is Phase.FAILED


@pytest.mark.parametrize("incarnation", ["w1", "w1.child"])
async def test_another_keys_worker_is_refused_by_the_statement_itself(
    store: Store, flow: Flow, incarnation: str
) -> None:
    """Neither begin nor claim, nor a repeated one, in the name of a process that another key registered, or of its
    child; nothing moves. Its own key, an empty one, and anybody for a process that nobody knows may."""
    await register(store, "w1", key="key-1")
    first, second = await flow.created(), await flow.created()
    for execution in (first, second):
        await store.dispatched(execution.id)
    with pytest.raises(OtherKeysWorker):
        await store.begin(first.id, "b1", incarnation, key="key-2")
    assert (await flow.facts(first.id)).step is Step.ENSURE_THREAD
    assert (await store.begin(first.id, "b1", incarnation, key="key-1")).granted
    assert (await store.begin(second.id, "b1", "unknown", key="key-2")).granted
    with pytest.raises(OtherKeysWorker):
        await store.begin(first.id, "b1", incarnation, key="key-2")
    for execution in (first, second):
        assert await store.done(execution.id, "b1", "thread-1")
    with pytest.raises(OtherKeysWorker):
        await store.claim(first.id, "c1", incarnation, key="key-2")
    assert (await flow.facts(first.id)).step is Step.EXECUTE
    assert (await store.claim(first.id, "c1", incarnation, key="key-1")).granted
    assert (await store.claim(second.id, "c1", incarnation)).granted


async def register(store: Store, incarnation: str, *, key: str) -> None:
    await store.hello(
        incarnation=incarnation, queue="runner", role="worker", hostname="h", pid=1, slots=1, name=incarnation,
        version="1", key_id=key,
    )  # fmt: skip
