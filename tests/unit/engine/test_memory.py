"""Memory: turns begin at the head, whatever else was written to the thread."""

import asyncio
import os
from pathlib import Path

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import running
from agent_runner.clients.engine.memory.checkpoints import MemoryStoreError, open_saver, tracks_heads
from agent_runner.clients.engine.turn import Given, HeadMovedError, MemoryGone, open_turn
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.status.failures import Code
from agent_runner.tasks.run.outcome import broke
from tests.unit.engine.world import World, make_world

POSTGRES = os.environ.get("AGENT_RUNNER_TEST_POSTGRES_URL", "")


async def remembers(world: World) -> None:
    first = await world.turn("my name is Ada", world.run())
    second = await world.turn("and I like engines", world.run(head=first.head))
    third = await world.turn("what did I say?", world.run(head=second.head))
    assert "1. my name is Ada" in third.answer
    assert "2. and I like engines" in third.answer
    assert len({first.head, second.head, third.head}) == 3


async def test_the_next_turn_knows_the_last(world: World) -> None:
    """Two turns from head to head are one conversation."""
    await remembers(world)


@pytest.mark.skipif(not POSTGRES, reason="needs AGENT_RUNNER_TEST_POSTGRES_URL")
async def test_postgres_remembers_too(tmp_path: Path) -> None:
    """The same on Postgres."""
    async with make_world(tmp_path, url=POSTGRES) as world:
        thread = f"memory-{os.urandom(6).hex()}"
        first = await world.turn("my name is Ada", world.run(thread))
        second = await world.turn("what did I say?", world.run(thread, head=first.head))
        assert "1. my name is Ada" in second.answer
        await world.memory.saver.adelete_thread(thread)


async def test_a_zombie_that_writes_later_does_not_disturb(world: World) -> None:
    """A run that was given up and writes on after the next turn changes nothing in what later turns remember."""
    first = await world.turn("turn one", world.run())
    zombie_run, zombie_goes = world.run(head=first.head), asyncio.Event()
    reached = asyncio.Event()

    async def hold() -> None:
        reached.set()
        await zombie_goes.wait()

    zombie_run.gate = hold
    zombie = asyncio.create_task(world.turn("I am the zombie", zombie_run))
    await asyncio.wait_for(reached.wait(), 20)
    second = await world.turn("turn two", world.run(head=first.head))
    zombie_goes.set()
    await zombie  # its checkpoints are now the latest of the thread
    third = await world.turn("what did I say?", world.run(head=second.head))
    assert "1. turn one\n2. turn two" in third.answer
    assert "zombie" not in third.answer


async def test_a_turn_without_a_head_starts_empty(world: World) -> None:
    """What a first run that was given up left in the thread is not picked up."""
    await world.turn("left behind", world.run())
    ended = await world.turn("what did I say?", world.run())
    assert "left behind" not in ended.answer
    again = await world.turn("what did I say?", world.run(head=ended.head))
    assert "1. what did I say?" in again.answer


@pytest.mark.parametrize("resume", [False, True])
async def test_a_memory_that_is_gone_is_told(world: World, resume: bool) -> None:
    """A turn whose head is not in the store does not begin with nothing: it ends with E302, its reason and what to do.

    The same where other checkpoints of the thread are still there. A redrive says there that the session has moved on:
    its head may have been pruned since.
    """
    first = await world.turn("my name is Ada", world.run())
    missing = "1f000000-0000-6000-8000-000000000000"
    refusal = HeadMovedError if resume else MemoryGone
    with pytest.raises(refusal, match=missing):
        await world.turn("what did I say?", world.run(head=missing), resume=resume)
    await world.memory.saver.adelete_thread("t")
    with pytest.raises(MemoryGone, match=f"checkpoint {first.head} of thread t is not") as told:
        await world.turn("what did I say?", world.run(head=first.head), resume=resume)
    outcome = broke(told.value, began=False, sandbox="none")
    assert outcome.code == Code.SYSTEM
    assert "AGENT_RUNNER_CHECKPOINT_URL" in str(outcome.facts["advice"])


async def test_a_cancelled_run_is_resumed_from_where_it_was(world: World) -> None:
    """A hand-back goes on with no second start of what was done; after somebody else's write it is refused."""
    run = world.run()
    assert isinstance(run.sandbox, LocalSandbox)
    marks = run.sandbox.work_dir / "marks"
    task = asyncio.create_task(world.turn("$ echo one >> marks\n$ test -e go || { touch wait; sleep 100; }", run))
    async with asyncio.timeout(20):
        while not (run.sandbox.work_dir / "wait").exists():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (run.sandbox.work_dir / "go").touch()
    ended = await world.turn("", world.run(head=run.head_checkpoint_id), resume=True)
    assert marks.read_text() == "one\n"
    assert [m.status for m in ended.tool_messages("execute")] == ["success", "success"]
    moved = world.run(head=run.head_checkpoint_id)
    with running(moved), pytest.raises(HeadMovedError):
        await open_turn(await world.factory.graph(Bundle(model_name="demo")), moved, Bundle(), Given(), resume=True)


async def test_two_processes_share_a_sqlite_memory(tmp_path: Path) -> None:
    """Two savers on one file, written at the same time: nobody gets 'database is locked', both are remembered."""
    url = f"sqlite:///{tmp_path}/memory.db"
    async with make_world(tmp_path, url=url) as one, make_world(tmp_path, url=url) as two:
        worlds = [one, two] * 3
        ends = await asyncio.gather(*(w.turn(f"note {n}", w.run(f"t{n}")) for n, w in enumerate(worlds)))
        back = await asyncio.gather(
            *(w.turn("what did I say?", w.run(f"t{n}", head=ends[n].head)) for n, w in enumerate(reversed(worlds)))
        )
    assert [f"1. note {n}" in ended.answer for n, ended in enumerate(back)] == [True] * 6


async def test_a_store_that_cannot_be_opened_is_named_without_its_password() -> None:
    """The error shows the address and the reason, not the password."""
    with pytest.raises(MemoryStoreError) as caught:
        await open_saver("mysql://user:pass-word@host/db")
    assert "host/db" in str(caught.value)
    assert "pass-word" not in str(caught.value)
    assert not tracks_heads(None)
