"""What retention takes from the store, and what it never touches."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from agent_runner.status.phases import Phase
from agent_runner.status.store.executions import retention
from agent_runner.status.store.executions.retention import Overdue
from agent_runner.status.store.records import Purged, Removal, Resource, ResourceKind
from agent_runner.status.store.run_records import Claimed, NewDelta, Outcome
from agent_runner.status.store.schema import (
    execution_log,
    execution_snapshots,
    execution_tags,
    executions,
    resources,
    session_facts,
    skill_artifacts,
    skill_tags,
)
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow
from tests.store.test_skills import skill, version
from tests.support.tables import change, rows, scalar

DAY = 86_400.0
TABLES = (execution_log, execution_snapshots, execution_tags, executions)


async def ended(flow: Flow, *, head: str = "", said: int = 1, **given: Any) -> str:
    """An execution that was run to its end by its owner; its id."""
    claimed = await flow.claimed(**given)
    execution = claimed.execution
    assert execution is not None
    deltas = [NewDelta(kind="message", payload=f'{{"id":"a{n}","content":"{"x" * 3000}"}}') for n in range(said)]
    settled = await flow.store.settle(
        execution.handle, execution.fence, 0, deltas, head, Outcome(phase=Phase.COMPLETED)
    )
    assert settled.accepted
    return execution.id


async def session(store: Store, id: str) -> None:
    await store.put_resource(
        Resource(
            kind=ResourceKind.SESSION, id=id, org="local", slug=id, parent_id="", created_at=1.0, version=0, body={}
        )
    )


async def counted(store: Store) -> dict[str, int]:
    return {t.name: await scalar(store, select(func.count()).select_from(t)) or 0 for t in TABLES}


async def everything(store: Store, older_than_s: float) -> Purged:
    """Batch after batch."""
    total = Purged()
    while True:
        one = await store.purge(older_than_s)
        total = Purged(
            executions=total.executions + one.executions,
            log_rows=total.log_rows + one.log_rows,
            bytes=total.bytes + one.bytes,
        )
        if not one.more:
            return total


def told(removals: list[Removal]) -> list[tuple[str, str, str]]:
    return [(r.sandbox_id, r.thread_id, r.head_checkpoint_id) for r in removals]


async def test_the_old_goes_with_all_that_is_its_own(store: Store, flow: Flow, clock: Clock) -> None:
    """An execution that ended long ago goes with log, snapshot, tags, key and context; a young one keeps all of it."""
    tagged: dict[str, Any] = {"spec": {"metadata": {"tags": ["nightly"]}, "spec": {}}}
    old = await ended(flow, said=3, idempotency_key="once", **tagged)
    context = Resource(
        kind=ResourceKind.EXECUTION_CONTEXT, id="ctx-1", org="local", slug="c", parent_id=old, created_at=1.0,
        version=0, body={},
    )  # fmt: skip
    await store.put_resource(context)
    clock.advance(20 * DAY)
    young = await ended(flow, said=3, idempotency_key="twice", **tagged)
    before = await counted(store)
    assert before["executions"] == before["execution_tags"] == before["execution_snapshots"] == 2

    clock.advance(10 * DAY)
    purged = await everything(store, 30 * DAY)
    assert purged.executions == 1
    assert purged.log_rows == before["execution_log"] / 2
    assert purged.bytes > 3 * 3000
    assert await counted(store) == {name: count // 2 for name, count in before.items()}
    assert await store.get(old) is None
    assert await store.get_resource(ResourceKind.EXECUTION_CONTEXT, "ctx-1") is None
    assert len(await store.read_log(young)) == before["execution_log"] / 2
    assert (await flow.created(idempotency_key="once")).id != old
    assert (await flow.created(idempotency_key="twice")).id == young


async def test_what_has_not_ended_stays_however_old(store: Store, flow: Flow, clock: Clock) -> None:
    """A pending, a waiting and a running one, all older than the limit, are not touched."""
    running = await flow.claimed(session_id="ses-1")
    waiting = await flow.created(session_id="ses-1")
    pending = await flow.created()
    clock.advance(400 * DAY)
    before = await counted(store)
    assert await everything(store, 0) == Purged()
    assert await store.retire_sessions(0) == []
    assert await counted(store) == before
    assert running.execution is not None
    for id, phase in (
        (running.execution.id, Phase.IN_PROGRESS),
        (waiting.id, Phase.PENDING),
        (pending.id, Phase.PENDING),
    ):
        assert (await flow.facts(id)).phase is phase


async def test_a_batch_is_bounded(store: Store, flow: Flow, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """By executions, and by rows of their logs; one that alone is larger goes alone. The oldest goes first."""
    ids = []
    for said in (1, 1, 40, 1):
        ids.append(await ended(flow, said=said))
        clock.advance(1)
    monkeypatch.setattr(retention, "MAX_LOG_ROWS", 20)
    left = []
    for _ in ids:
        purged = await store.purge(0)
        left.append([id for id in ids if await store.get(id)])
        if not purged.more:
            break
    assert left == [ids[2:], ids[3:], []]
    ids = [await ended(flow) for _ in range(5)]
    monkeypatch.setattr(retention, "BATCH", 2)
    assert [(await store.purge(0)).executions for _ in range(4)] == [2, 2, 1, 0]


async def test_several_servers_at_once(store: Store, flow: Flow, clock: Clock, database_url: str) -> None:
    """What several servers purge and retire at the same moment is done once in all."""
    for n in range(12):
        await session(store, f"ses-{n}")
        await ended(flow, session_id=f"ses-{n}", head=f"head-{n}")
    clock.advance(DAY)
    others = [Store.open(database_url, now=clock) for _ in range(3)]
    try:
        purged = await asyncio.gather(*(everything(s, DAY) for s in (store, *others)))
        assert sum(p.executions for p in purged) == 12
        retired = await asyncio.gather(*(s.retire_sessions(DAY) for s in (store, *others)))
        assert sorted(id for ids in retired for id in ids) == sorted(f"ses-{n}" for n in range(12))
        assert len(await store.due_removals()) == 24
    finally:
        for other in others:
            await other.close()


async def test_an_idle_session_keeps_its_memory_and_gets_a_new_sandbox(store: Store, flow: Flow, clock: Clock) -> None:
    """Thread and head stay for the next turn; the sandbox that is to go is not the one that the turn gets."""
    await session(store, "ses-1")
    await ended(flow, session_id="ses-1", head="head-1")
    clock.advance(29 * DAY)
    await everything(store, 30 * DAY)
    assert await store.retire_sessions(30 * DAY) == []
    clock.advance(1 * DAY)
    await everything(store, 30 * DAY)
    assert await store.retire_sessions(30 * DAY) == ["ses-1"]
    assert told(await store.due_removals()) == [("ses-1", "", ""), ("", "thread-1", "head-1")]
    assert await store.retire_sessions(0) == []
    thread, head, sandbox = await store.session_facts("ses-1")
    assert (thread, head) == ("thread-1", "head-1")
    assert sandbox not in ("", "ses-1")

    claimed: Claimed = await flow.claimed(session_id="ses-1")
    assert (claimed.head_checkpoint_id, claimed.sandbox_id) == ("head-1", sandbox)
    clock.advance(60 * DAY)
    assert await store.retire_sessions(30 * DAY) == [], "it runs"
    execution = claimed.execution
    assert execution is not None
    await store.settle(execution.handle, execution.fence, 0, [], "head-2", Outcome(phase=Phase.COMPLETED))
    clock.advance(30 * DAY)
    await everything(store, 30 * DAY)
    assert await store.retire_sessions(30 * DAY) == ["ses-1"]
    assert (sandbox, "", "") in told(await store.due_removals())
    assert ("", "thread-1", "head-2") in told(await store.due_removals())
    assert (await store.session_facts("ses-1"))[2] not in ("ses-1", sandbox)


async def test_a_session_with_an_execution_left_is_not_idle(store: Store, flow: Flow, clock: Clock) -> None:
    """It was used long ago, and what was made then ended a short while ago."""
    await session(store, "ses-1")
    claimed = await flow.claimed(session_id="ses-1")
    execution = claimed.execution
    assert execution is not None
    clock.advance(40 * DAY)
    await store.settle(execution.handle, execution.fence, 0, [], "", Outcome(phase=Phase.COMPLETED))
    clock.advance(5 * DAY)
    assert await store.retire_sessions(30 * DAY) == []
    clock.advance(25 * DAY)
    assert (await everything(store, 30 * DAY)).executions == 1
    assert await store.retire_sessions(30 * DAY) == ["ses-1"]


async def test_a_deleted_session_goes_as_a_whole(store: Store, flow: Flow, clock: Clock) -> None:
    """Sandbox and all of the memory, at once; what it was executed for stays as long as its age allows."""
    await session(store, "ses-1")
    id = await ended(flow, session_id="ses-1", head="head-1")
    assert await store.retire_session("ses-1") == [], "it was not deleted"
    await store.delete_resource(ResourceKind.SESSION, "ses-1")
    assert told(await store.retire_session("ses-1")) == [("ses-1", "", ""), ("", "thread-1", "")]
    assert await store.retire_session("ses-1") == []
    assert await store.session_facts("ses-1") == ("", "", "")
    assert await store.get(id) is not None


async def test_a_session_that_is_deleted_while_it_runs(store: Store, flow: Flow) -> None:
    """Nothing of it goes under a run; the first retention after the end takes it, however young it is."""
    await session(store, "ses-1")
    claimed = await flow.claimed(session_id="ses-1")
    execution = claimed.execution
    assert execution is not None
    await store.delete_resource(ResourceKind.SESSION, "ses-1")
    assert await store.retire_session("ses-1") == []
    assert await store.retire_sessions(30 * DAY) == []
    assert (await store.overdue(30 * DAY)).sessions == 0
    await store.settle(execution.handle, execution.fence, 0, [], "head-1", Outcome(phase=Phase.COMPLETED))
    assert (await store.overdue(30 * DAY)).sessions == 1
    assert await store.retire_sessions(30 * DAY) == ["ses-1"]
    assert told(await store.due_removals()) == [("ses-1", "", ""), ("", "thread-1", "")]


async def test_a_removal_is_published_until_it_is_confirmed(store: Store, flow: Flow, clock: Clock) -> None:
    """It is due again after as long as it has waited, at most a day; a confirmed one never."""
    await session(store, "ses-1")
    await ended(flow, session_id="ses-1", head="head-1")
    await store.delete_resource(ResourceKind.SESSION, "ses-1")
    await store.retire_session("ses-1")
    first = await store.due_removals()
    assert len(first) == 2
    assert await store.due_removals(first[-1].id) == []
    assert await store.due_removals() == first, "it was not published yet"
    await store.asked([removal.id for removal in first])
    looks = []
    for _ in range(5 * 24):
        clock.advance(3600)
        due = await store.due_removals()
        await store.asked([removal.id for removal in due])
        looks.append(len(due))
        assert await store.due_removals(early=True) == first
    hours = [hour for hour, due in enumerate(looks, 1) if due == 2]
    assert hours == [1, 2, 4, 8, 16, 32, 56, 80, 104]
    assert set(looks) == {0, 2}

    assert await store.removed(sandbox_id="ses-1")
    assert not await store.removed(sandbox_id="ses-1")
    assert not await store.removed(thread_id="thread-1", head_checkpoint_id="another")
    assert await store.unconfirmed() == 1
    clock.advance(DAY)
    assert told(await store.due_removals()) == [("", "thread-1", "")]
    assert await store.give_up_removals(30 * DAY) == 0
    assert await store.removed(thread_id="thread-1")
    assert await store.unconfirmed() == 0


async def test_a_removal_that_nobody_can_confirm_is_given_up(store: Store, flow: Flow, clock: Clock) -> None:
    """So that what is sent again and again stays bounded."""
    await session(store, "ses-1")
    await ended(flow, session_id="ses-1")
    await store.delete_resource(ResourceKind.SESSION, "ses-1")
    await store.retire_session("ses-1")
    clock.advance(30 * DAY)
    assert await store.give_up_removals(30 * DAY) == 2
    assert await store.due_removals() == []


async def test_only_archives_without_a_skill_go(store: Store) -> None:
    """A version stays as long as its skill, tagged or not, newest or not."""
    stored = await store.push_skill(skill(), version("h1"), b"1")
    await store.push_skill(skill(), version("h2", tag="v"), b"2", expect_version=stored.version)
    await store.push_skill(skill(id="skl-2", slug="other"), version(id="skl-2", tag="v"), b"3")
    assert await store.purge_skill_archives() == 0
    # What a version without this rule left behind.
    await change(store, delete(resources).where(resources.c.id == "skl-2"))
    assert (await store.overdue(0)).skill_archives == 1
    assert await store.purge_skill_archives() == 1
    assert {row.version_hash for row in await rows(store, select(skill_artifacts.c.version_hash))} == {"h1", "h2"}
    assert {row.skill_id for row in await rows(store, select(skill_tags.c.skill_id))} == {"skl-1"}


async def test_counting_is_what_a_run_takes_and_changes_nothing(store: Store, flow: Flow, clock: Clock) -> None:
    """The dry run's numbers are those of the run after it."""
    for n in range(3):
        await session(store, f"ses-{n}")
        await ended(flow, session_id=f"ses-{n}", head="h", said=n + 1)
    clock.advance(30 * DAY)
    await ended(flow, session_id="ses-2")
    before = await counted(store)
    overdue = await store.overdue(30 * DAY)
    assert await counted(store) == before
    assert await store.due_removals() == []
    purged = await everything(store, 30 * DAY)
    retired = await store.retire_sessions(30 * DAY)
    assert retired == ["ses-0", "ses-1"]
    assert overdue == Overdue(
        executions=purged.executions,
        log_rows=purged.log_rows,
        bytes=purged.bytes,
        sessions=len(retired),
        skill_archives=0,
        unconfirmed=0,
    )
    assert (await store.overdue(30 * DAY)).unconfirmed == 4


async def test_bytes_are_bytes(store: Store, flow: Flow) -> None:
    """Of a text that has more of them than characters."""
    claimed = await flow.claimed()
    execution = claimed.execution
    assert execution is not None
    delta = NewDelta(kind="message", payload='{"id":"a","content":"' + "ä" * 1000 + '"}')
    await store.settle(execution.handle, execution.fence, 0, [delta], "", Outcome(phase=Phase.COMPLETED))
    assert (await store.purge(0)).bytes > 2000


async def test_a_use_ends_the_idleness(store: Store, flow: Flow, clock: Clock) -> None:
    """A session is idle from its last use on, not from its first."""
    await session(store, "ses-1")
    await ended(flow, session_id="ses-1")
    clock.advance(20 * DAY)
    used = await flow.created(session_id="ses-1")
    await store.request_cancel(used.id, "the user")
    await store.delete(used.id)
    clock.advance(15 * DAY)
    await everything(store, 30 * DAY)
    assert await store.retire_sessions(30 * DAY) == []
    assert await scalar(store, select(session_facts.c.turns)) == 2
    clock.advance(15 * DAY)
    assert await store.retire_sessions(30 * DAY) == ["ses-1"]
