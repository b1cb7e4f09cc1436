"""Where in its session's memory a run begins: kept with it, for further attempts and for a redrive."""

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.run_records import WHAT_IS_FOUND, Claimed, Outcome
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow

FAILED = Outcome(phase=Phase.FAILED, code=None)


async def ended(store: Store, flow: Flow, head: str, **given: object) -> str:
    """An execution that left this head behind it."""
    claimed = await flow.claimed("w1", **given)
    assert claimed.execution is not None
    settled = await store.settle(claimed.execution.handle, claimed.execution.fence, 0, [], head, FAILED)
    assert settled.accepted
    return claimed.execution.id


async def test_a_run_begins_at_the_head_and_that_is_kept(store: Store, flow: Flow) -> None:
    """Not where it ended: that is the session's head by then."""
    first = await ended(store, flow, "h1", session_id="s")
    second = await ended(store, flow, "h2", session_id="s")
    assert [(await flow.facts(id)).base_checkpoint_id for id in (first, second)] == ["", "h1"]
    assert await store.session_memory("s") == ("h2", second)
    assert await store.session_memory("") == ("", "")


async def test_a_redrive_begins_where_it_is_told(store: Store, flow: Flow) -> None:
    """From before the run it is new input there, from the failed step it goes on without; the next turn says why."""
    first = await ended(store, flow, "h1", session_id="s")
    anew = await flow.claimed(session_id="s", base_checkpoint_id="", redriven_from=first)
    assert (anew.head_checkpoint_id, anew.resume) == ("", False)
    assert anew.execution is not None
    await store.settle(anew.execution.handle, anew.execution.fence, 0, [], "h2", FAILED)
    on = await flow.claimed(session_id="s", base_checkpoint_id="", resume_checkpoint_id="h2", redriven_from=first)
    assert (on.head_checkpoint_id, on.resume) == ("h2", True)
    assert on.previous_code == (await flow.facts(anew.execution.id)).error_code


async def test_a_run_hears_of_one_that_could_not_tell_its_end(store: Store, flow: Flow) -> None:
    """That the server ended: also a redrive of it from the failed step, not one from before it, nor any run later."""
    lost = await flow.claimed("w1", session_id="s")
    assert lost.execution is not None
    await store.append(lost.execution.handle, lost.execution.fence, 0, [], "h1")
    await store.fail(lost.execution.id, Code.WORKER_LOST, {}, only_steps=frozenset())
    again = {"session_id": "s", "redriven_from": lost.execution.id, "base_checkpoint_id": ""}
    for where, told_of in (("h1", lost.execution.id), (WHAT_IS_FOUND, lost.execution.id), ("", "")):
        on = await flow.claimed(**again, resume_checkpoint_id=where)
        assert on.untold_execution_id == told_of
        assert (on.resume, on.go_on_if_found) == (where == "h1", where == WHAT_IS_FOUND)
        assert on.head_checkpoint_id == (where if on.resume else "")
        assert on.execution is not None
        assert await _ends(store, on)
        assert await store.delete(on.execution.id)
    message = await flow.claimed(session_id="s")
    assert message.untold_execution_id == lost.execution.id
    assert await _ends(store, message)
    assert (await flow.claimed(session_id="s")).untold_execution_id == ""


async def _ends(store: Store, claimed: Claimed) -> bool:
    """By its owner."""
    assert claimed.execution is not None
    facts = claimed.execution
    return (await store.settle(facts.handle, facts.fence, 0, [], claimed.head_checkpoint_id, FAILED)).accepted


async def test_a_session_made_for_one_execution_goes_with_it(store: Store, flow: Flow, clock: Clock) -> None:
    """Its whole memory goes; one that somebody made, or that went on, keeps its head."""
    for session, one_shot in (("once", True), ("made", False), ("went-on", True)):
        await store.put_resource(
            Resource(
                kind=ResourceKind.SESSION,
                id=session,
                org="local",
                slug=session,
                parent_id="i",
                body={},
                created_at=0,
                version=1,
            )
        )
        await ended(store, flow, f"head-{session}", session_id=session, one_shot=one_shot)
    await ended(store, flow, "head-2", session_id="went-on")
    clock.advance(100)
    await store.purge(10)
    await store.retire_sessions(10)
    pruned = {r.session_id: r.head_checkpoint_id for r in await store.due_removals() if r.thread_id}
    assert pruned == {"once": "", "made": "head-made", "went-on": "head-2"}
    assert await store.get_resource(ResourceKind.SESSION, "once") is None
    assert await store.get_resource(ResourceKind.SESSION, "made") is not None
