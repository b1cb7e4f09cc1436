"""Threads, assistants and questions to workers: what the store holds of them, on every database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.errors import SlugTaken
from agent_runner.status.store.records import NewExecution, Resource, ResourceKind
from agent_runner.status.store.registry.assistants import Assistant, AssistantQuery
from agent_runner.status.store.registry.graph_queries import GraphQuery, QueryAnswer
from agent_runner.status.store.registry.threads import NewThread, Thread, ThreadQuery, ThreadState, ThreadStatus
from agent_runner.status.store.run_records import Outcome
from agent_runner.status.store.store import Store
from agent_runner.status.timeouts import Timeouts


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = Store.open(database_url)
    yield opened
    await opened.close()


async def a_session(store: Store, id: str, **metadata: object) -> str:
    body = {"metadata": {"id": id}, "spec": {}}
    session = Resource(
        kind=ResourceKind.SESSION, id=id, org="o", slug=id, parent_id="ain-1", created_at=1.0, version=1, body=body
    )
    await store.make_thread(session, NewThread(session_id=id, org="o", metadata=metadata))
    return id


async def found(store: Store, id: str) -> Thread:
    thread = await store.thread(id)
    assert thread is not None
    return thread


async def ended(store: Store, session_id: str, id: str, head: str, phase: Phase = Phase.COMPLETED) -> None:
    """An execution of the session, from its beginning to its end, with this head of memory."""
    new = NewExecution(
        id=id, org="o", session_id=session_id, agent_id="agt-1", name=id, slug=id, message="m", graph="g",
        timeouts=Timeouts(), runner_queue="r", orchestrator_queue="q",
    )  # fmt: skip
    await store.create(new)
    await store.dispatched(id)
    await store.begin(id, f"b-{id}", "w")
    await store.done(id, f"b-{id}", f"thread-{session_id}")
    claimed = await store.claim(id, f"c-{id}", "w")
    execution = claimed.execution
    assert execution is not None
    assert (await found(store, session_id)).status is ThreadStatus.BUSY
    await store.settle(
        execution.handle,
        execution.fence,
        execution.runner_seq,
        [],
        head,
        Outcome(phase=phase, code=Code.APPLICATION if phase is Phase.FAILED else None),
    )


async def test_a_thread_is_found_by_what_its_metadata_contains(store: Store) -> None:
    """In depth, by any kind of value, and not by what is only similar; the last changed comes first."""
    metadata = {"a": 1, "text": "it's", "deep": {"yes": True, "no": None, "list": [1, "x"]}, "float": 1.5}
    await a_session(store, "ses-1", **metadata)
    await a_session(store, "ses-2", a=2)
    inside: list[dict[str, Any]] = [
        {}, {"a": 1}, {"text": "it's"}, {"deep": {"yes": True}}, {"deep": {"no": None}}, {"float": 1.5}, {"deep": {}},
        {"deep": {"list": [1, "x"]}}, {"a": 1, "text": "it's"},
    ]  # fmt: skip
    for wanted in inside:
        threads = await store.search_threads(ThreadQuery(metadata=wanted))
        assert "ses-1" in [t.session_id for t in threads], wanted
    for other in ({"a": "1"}, {"deep": {"yes": False}}, {"a": 1, "b": 1}, {"text": "its"}, {"deep": {"yes": 1}}):
        assert await store.count_threads(ThreadQuery(metadata=other)) == 0, other
    await store.patch_thread(NewThread(session_id="ses-1", org="o", metadata={"b": 2}))
    listed = await store.search_threads(ThreadQuery(orgs=["o"]))
    assert [t.session_id for t in listed] == ["ses-1", "ses-2"]
    assert listed[0].metadata == {**metadata, "b": 2}
    assert await store.search_threads(ThreadQuery(orgs=["other"])) == []
    for sort_by in ("thread_id", "status", "created_at", "updated_at", "state_updated_at"):
        assert len(await store.search_threads(ThreadQuery(sort_by=sort_by, ascending=True))) == 2


async def test_the_status_of_a_thread_follows_its_executions_and_its_memory(store: Store) -> None:
    """Idle, busy, error, and interrupted where the state says that nodes are left; a state of an older head says
    nothing."""
    id = await a_session(store, "ses-1")
    assert (await found(store, id)).status is ThreadStatus.IDLE
    await ended(store, id, "aex-1", "c1")
    thread = await found(store, id)
    assert (thread.status, thread.graph, thread.head_checkpoint_id) == (ThreadStatus.IDLE, "g", "c1")
    told = ThreadState(session_id=id, checkpoint_id="c1", state={"values": {"n": 1}}, stopped=True)
    assert await store.keep_state(told, "o")
    thread = await found(store, id)
    assert (thread.status, thread.known_state) == (ThreadStatus.INTERRUPTED, {"values": {"n": 1}})
    assert [t.session_id for t in await store.search_threads(ThreadQuery(values={"n": 1}))] == [id]
    assert await store.count_threads(ThreadQuery(status=ThreadStatus.INTERRUPTED)) == 1
    await ended(store, id, "aex-2", "c2", Phase.FAILED)
    thread = await found(store, id)
    assert (thread.status, thread.known_state) == (ThreadStatus.ERROR, None)
    assert not await store.keep_state(told, "o"), "of an older head"


NUMBERS = {"most": 2**63 - 1, "least": -(2**63), "more": 10**30, "less": -(10**300), "no_float": 10**400, "float": 1.5}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
async def test_threads_are_found_by_any_number(store: Store, number: float) -> None:
    """SQLite has whole numbers of 64 bits only."""
    id = await a_session(store, "ses-1", n=number)
    await a_session(store, "ses-2", n=-number)
    assert [t.session_id for t in await store.search_threads(ThreadQuery(metadata={"n": number}))] == [id]


async def test_a_state_by_hand_moves_the_head_only_if_nobody_else_did(store: Store) -> None:
    """From the head that was read, and with no execution open; a session without memory gets one."""
    id = await a_session(store, "ses-1")
    told = ThreadState(session_id=id, checkpoint_id="c1", state={}, stopped=False, memory_id="thread-1")
    assert await store.keep_state(told, "o", moves_from="")
    assert not await store.keep_state(replace(told, checkpoint_id="c2"), "o", moves_from="")
    thread = await found(store, id)
    assert (thread.head_checkpoint_id, thread.memory_id) == ("c1", "thread-1")
    await ended(store, id, "aex-1", "c3", Phase.FAILED)
    assert await store.keep_state(replace(told, checkpoint_id="c4"), "o", moves_from="c3")
    assert (await found(store, id)).status is ThreadStatus.IDLE


async def test_versions_of_an_assistant(store: Store) -> None:
    """Each put is the latest version; an earlier one can be it again, and the next one has a new number."""
    one = await store.put_assistant(Assistant(org="o", id="a", graph="g", name="1", metadata={"x": 1}), first=True)
    with pytest.raises(SlugTaken):
        await store.put_assistant(one, first=True)
    await store.put_assistant(replace(one, name="2"), first=False)
    assert await store.latest_assistant(one)
    assert not await store.latest_assistant(replace(one, version=7))
    three = await store.put_assistant(replace(one, name="3"), first=False)
    assert [(a.version, a.name) for a in await store.assistant_versions("o", "a")] == [(3, "3"), (2, "2"), (1, "1")]
    assert await store.search_assistants(AssistantQuery(graph="g", orgs=["o"])) == [three]
    assert await store.find_assistant("a", "o") == three
    assert await store.delete_assistant(three)
    assert await store.find_assistant("a", "o") is None


async def test_a_question_is_taken_once_and_answered_once(store: Store) -> None:
    """Only with its token, and only in its time."""
    query = GraphQuery(id="q", org="o", kind="state", queue="r", body="{}", within_s=60, head_checkpoint_id="c")
    await store.add_query(query)
    taken = await store.take_query("q", "token")
    assert taken is not None
    assert (taken.head_checkpoint_id, 0 < taken.within_s <= 60) == ("c", True)
    assert await store.take_query("q", "other") is None
    assert not await store.answer_query("q", "other", QueryAnswer(answer="1"))
    assert await store.query_answer("q") is None
    assert await store.answer_query("q", "token", QueryAnswer(answer="1"))
    assert not await store.answer_query("q", "token", QueryAnswer(answer="2"))
    assert await store.query_answer("q") == QueryAnswer(answer="1")
    await store.drop_query("q")
    assert await store.query_answer("q") is None
    await store.add_query(replace(query, within_s=-1))
    assert await store.take_query("q", "token") is None
