"""A time of a schedule makes one execution, whoever fires it and wherever it dies; time is moved by the test."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agent_runner.status.phases import Phase, Step
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.schedules.schedule import Ended, FiringOutcome, Mark, Rules, Schedule
from agent_runner.status.store.errors import NotDue, StaleVersion
from agent_runner.status.store.records import CreateVerdict
from agent_runner.status.store.registry.schedules import ScheduleQuery
from agent_runner.status.store.store import Store
from agent_runner.status.store.turns import firings
from agent_runner.status.store.turns.firings import KEPT, LEASE_S
from tests.store.conftest import Clock, Flow


@pytest.fixture
async def other(database_url: str, clock: Clock) -> AsyncIterator[Store]:
    """The store of a second server on the same database."""
    opened = Store.open(database_url, now=clock)
    yield opened
    await opened.close()


async def made(store: Store, clock: Clock, **given: object) -> Schedule:
    """Due in ten seconds, unless it is given otherwise."""
    values: dict[str, object] = {
        "id": "sch-1", "org": "local", "name": "s", "rules": Rules(cron="* * * * *"), "next_at": clock.at + 10,
    }  # fmt: skip
    new = await store.add_schedule(Schedule(**(values | given)), most=9)  # type: ignore[arg-type]
    assert new is not None
    return new


def mark(one: Schedule, **given: object) -> Mark:
    assert one.next_at is not None
    values: dict[str, object] = {
        "schedule_id": one.id, "revision": one.revision, "due_at": one.next_at, "fires_for": one.next_at,
        "next_at": one.next_at + 60,
    }  # fmt: skip
    return Mark(**(values | given))  # type: ignore[arg-type]


async def again(store: Store, id: str = "sch-1") -> Schedule:
    found = await store.find_schedule(id)
    assert found is not None
    return found


async def test_of_two_servers_one_fires(store: Store, other: Store, flow: Flow, clock: Clock) -> None:
    """Twenty that decide the same at the same time make one execution; the others write nothing."""
    one = await made(store, clock)
    clock.advance(10)
    tried = [(store, other)[n % 2].create(flow.new(fired=mark(one))) for n in range(20)]
    answers = await asyncio.gather(*tried, return_exceptions=True)
    fired = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(fired) == 1
    assert all(isinstance(answer, NotDue) for answer in answers if isinstance(answer, BaseException))
    now = await again(store)
    assert (now.fired, now.recorded, now.next_at, now.last_fired_at) == (1, 1, clock.at + 60, clock.at)
    (entry,) = await store.schedule_firings(one.id, limit=9)
    assert fired[0].execution is not None
    assert (entry.execution_id, entry.outcome, entry.due_at) == (fired[0].execution.id, FiringOutcome.FIRED, clock.at)
    assert entry.phase is Phase.PENDING


async def test_nothing_fires_before_its_time(store: Store, flow: Flow, clock: Clock) -> None:
    """The database's clock decides, and not the server that asks."""
    one = await made(store, clock)
    clock.advance(9.9)
    assert await store.take_due_schedules(9) == []
    with pytest.raises(NotDue):
        await store.create(flow.new(fired=mark(one)))
    assert (await again(store)) == one


async def test_a_crash_between_decision_and_create_loses_nothing(
    store: Store, other: Store, flow: Flow, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time and the execution are one transaction: if the second is not written, the time is still there, and
    another server fires it."""
    one = await made(store, clock)
    clock.advance(10)
    real = firings.take

    def dies(*args: object, **kwargs: object) -> bool:
        assert real(*args, **kwargs)  # type: ignore[arg-type]
        raise KeyError("the process dies here")

    with monkeypatch.context() as patched:
        patched.setattr("agent_runner.status.store.executions.creation.take", dies)
        with pytest.raises(KeyError):
            await store.create(flow.new(id="aex-lost", fired=mark(one)))
    assert await again(store) == one
    assert await store.get("aex-lost") is None
    assert await store.schedule_firings(one.id, limit=9) == []
    assert (await other.create(flow.new(fired=mark(one)))).verdict is CreateVerdict.CREATED


async def test_a_server_that_dies_with_a_schedule_holds_it_for_a_while_only(
    store: Store, other: Store, clock: Clock
) -> None:
    """Meanwhile nobody else is given it; afterwards somebody is."""
    await made(store, clock)
    clock.advance(10)
    (due,) = await store.take_due_schedules(9)
    assert (due.schedule.id, due.now) == ("sch-1", clock.at)
    assert await other.take_due_schedules(9) == []
    clock.advance(LEASE_S)
    assert [one.schedule.id for one in await other.take_due_schedules(9)] == ["sch-1"]


@pytest.mark.parametrize("change", ["pause", "times", "delete"])
async def test_what_was_decided_before_a_change_does_not_fire(
    store: Store, flow: Flow, clock: Clock, change: str
) -> None:
    """Neither what is paused, nor by the old times, nor what is deleted."""
    one = await made(store, clock)
    clock.advance(10)
    if change == "delete":
        assert await store.delete_schedule(one)
    else:
        await store.change_schedule(replace(one, paused=change == "pause"), read=one)
    with pytest.raises(NotDue):
        await store.create(flow.new(fired=mark(one)))
    assert not await store.note_firing(mark(one), FiringOutcome.REFUSED)
    if change == "pause":
        assert await store.take_due_schedules(9) == []


async def test_a_change_never_brings_a_fired_time_back(store: Store, flow: Flow, clock: Clock) -> None:
    """A change that was made from the schedule before the firing is refused; from the one after it, it is taken."""
    one = await made(store, clock)
    clock.advance(10)
    assert (await store.create(flow.new(fired=mark(one)))).execution
    with pytest.raises(StaleVersion):
        await store.change_schedule(replace(one, name="new"), read=one)
    now = await again(store)
    changed = await store.change_schedule(replace(now, name="new"), read=now)
    assert (changed.name, changed.revision, changed.next_at, changed.fired) == ("new", 2, clock.at + 60, 1)


async def test_a_refused_firing_is_kept_with_its_reason(store: Store, flow: Flow, clock: Clock) -> None:
    """It takes its time, is no firing, and does not count as one."""
    one = await made(store, clock)
    clock.advance(10)
    assert await store.note_firing(mark(one), FiringOutcome.REFUSED, code="NOT_FOUND", reason="no such agent")
    assert not await store.note_firing(mark(one), FiringOutcome.REFUSED)
    now = await again(store)
    assert (now.fired, now.recorded, now.last_fired_at, now.next_at) == (0, 1, None, clock.at + 60)
    (entry,) = await store.schedule_firings(one.id, limit=9)
    assert (entry.outcome, entry.code, entry.reason) == (FiringOutcome.REFUSED, "NOT_FOUND", "no such agent")
    assert (entry.execution_id, entry.phase) == ("", None)


async def test_a_busy_session_or_a_full_queue_leaves_the_time_where_it_is(
    store: Store, flow: Flow, clock: Clock
) -> None:
    """The refusal itself writes nothing: what it means for the time is written with its reason."""
    await flow.claimed(session_id="s")
    one = await made(store, clock)
    clock.advance(10)
    busy = await store.create(flow.new(session_id="s", multitask=Multitask.REJECT, fired=mark(one)))
    assert (busy.verdict, await again(store)) == (CreateVerdict.SESSION_BUSY, one)
    await flow.created(runner_queue="q")
    full = await store.create(flow.new(runner_queue="q", fired=mark(one)), queue_cap=1)
    assert (full.verdict, await again(store)) == (CreateVerdict.QUEUE_FULL, one)


async def test_by_hand_the_times_stay(store: Store, flow: Flow, clock: Clock) -> None:
    """Before its time, and while it is paused; it is not counted as a firing of the clock."""
    one = await made(store, clock, paused=True)
    by_hand = mark(one, due_at=None, fires_for=clock.at)
    for _ in range(2):
        assert (await store.create(flow.new(fired=by_hand))).execution
    now = await again(store)
    assert (now.fired, now.recorded, now.next_at) == (0, 2, one.next_at)
    assert [entry.kind for entry in await store.schedule_firings(one.id, limit=9)] == ["hand", "hand"]


async def test_two_firings_do_not_both_name_the_session_of_all(store: Store, flow: Flow, clock: Clock) -> None:
    """The second decides again, and then knows the session of the first."""
    one = await made(store, clock)
    first, second = (mark(one, due_at=None, session_id=name) for name in ("ses-a", "ses-b"))
    assert (await store.create(flow.new(fired=first))).execution
    with pytest.raises(NotDue):
        await store.create(flow.new(fired=second))
    assert (await again(store)).session_id == "ses-a"


async def test_a_superseded_run_is_cancelled_with_the_firing(store: Store, flow: Flow, clock: Clock) -> None:
    """Overlap `interrupt`: the new one waits for the one before it to stop."""
    await flow.claimed(session_id="s")
    one = await made(store, clock)
    clock.advance(10)
    fired = await store.create(flow.new(session_id="s", multitask=Multitask.INTERRUPT, fired=mark(one)))
    assert fired.execution is not None
    assert fired.execution.step is Step.WAITING
    assert [run.cancel_requested_at for run in fired.superseded] == [clock.at]


async def test_the_history_is_bounded(store: Store, clock: Clock) -> None:
    """The oldest entries go; their numbers go on."""
    one = await made(store, clock)
    clock.advance(10)
    for _ in range(KEPT + 5):
        assert await store.note_firing(mark(one, due_at=None), FiringOutcome.REFUSED)
    numbers = [entry.number for entry in await store.schedule_firings(one.id, limit=1000)]
    assert numbers == list(range(KEPT + 5, 5, -1))


async def test_what_is_over_is_due_no_more(store: Store, flow: Flow, clock: Clock) -> None:
    """It says why, and is counted."""
    one = await made(store, clock)
    clock.advance(10)
    assert (await store.create(flow.new(fired=mark(one, next_at=None, ended=Ended.FIRINGS)))).execution
    now = await again(store)
    assert (now.state, now.ended, now.next_at) == ("ended", Ended.FIRINGS, None)
    clock.advance(1e9)
    assert await store.take_due_schedules(9) == []
    assert await store.schedule_states() == {"active": 0, "paused": 0, "ended": 1}


async def test_an_org_has_so_many(store: Store, other: Store, clock: Clock) -> None:
    """Ten made at once by two servers: the limit holds. Others have their own."""
    new = [Schedule(id=f"sch-{n}", org="a", name="s", rules=Rules(), next_at=1.0) for n in range(10)]
    kept = await asyncio.gather(*((store, other)[n % 2].add_schedule(one, most=3) for n, one in enumerate(new)))
    assert len([one for one in kept if one]) == 3
    assert await store.add_schedule(replace(new[0], id="sch-b", org="b"), most=3)
    page = await store.list_schedules(ScheduleQuery(org="a", page_size=2))
    more = await store.list_schedules(ScheduleQuery(org="a", page_size=2, page_token=page.next_token))
    ids = [one.id for one in (*page.schedules, *more.schedules)]
    assert ids == sorted((one.id for one in kept if one), reverse=True)
    assert more.next_token == ""


async def test_deleting_takes_the_history_and_leaves_what_was_made(store: Store, flow: Flow, clock: Clock) -> None:
    """The executions stay."""
    one = await made(store, clock)
    clock.advance(10)
    fired = await store.create(flow.new(fired=mark(one)))
    assert fired.execution is not None
    assert await store.delete_schedule(one)
    assert not await store.delete_schedule(one)
    assert await store.schedule_firings(one.id, limit=9) == []
    assert await store.get(fired.execution.id) is not None
