"""The task factory that keeps exits inside their task."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from agent_runner.clients.engine.contain import contain
from agent_runner.clients.engine.current import AgentExitError


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    contain(made)
    yield made
    made.close()


def test_an_exit_in_a_task_does_not_stop_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    """The task fails with an error that names the exit; the others go on."""

    async def leave() -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    async def main() -> str:
        leaving, other = asyncio.create_task(leave()), asyncio.create_task(asyncio.sleep(0.01, "other"))
        with pytest.raises(AgentExitError, match=r"SystemExit\(3\)"):
            await leaving
        return await other

    assert loop.run_until_complete(main()) == "other"


def test_cancelling_and_results_are_as_without_it(loop: asyncio.AbstractEventLoop) -> None:
    """Results, cancels in the middle and cancels before the first step are those of plain tasks, without warnings."""

    async def work() -> int:
        await asyncio.sleep(60)
        return 1

    async def main() -> None:
        early, late = asyncio.create_task(work()), asyncio.create_task(work())
        early.cancel()
        await asyncio.sleep(0)
        late.cancel()
        results = await asyncio.gather(early, late, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(asyncio.sleep(0, 7))
            assert "sleep" in repr(waiting)
        assert waiting.result() == 7

    loop.run_until_complete(main())
    gc.collect()
