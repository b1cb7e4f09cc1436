"""What a task's body raises when its coroutine is cancelled before a run exists that could report it."""

import asyncio
import threading
from pathlib import Path

import pytest

from agent_runner.status.failures import Code, describe
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.tasks.report_failure import judge
from agent_runner.tasks.worker.pool import Slot, _here
from agent_runner.tasks.worker.workplace import Workplace
from tests.unit.tasks.runner_process import runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer


def _terminated(place: Workplace, *, before_its_first_step: bool) -> ExecutionError:
    """The error of a body whose task is terminated at the given moment."""
    slot, begun = Slot(1), threading.Event()
    raised: list[ExecutionError] = []

    async def claim() -> None:
        begun.set()
        await asyncio.Event().wait()

    def body() -> None:
        _here.slot = slot
        with pytest.raises(ExecutionError) as caught:
            place.wait_for(claim())
        raised.append(caught.value)

    if before_its_first_step:
        slot.cancel()
    thread = threading.Thread(target=body)
    thread.start()
    if not before_its_first_step:
        assert begun.wait(20)
        slot.cancel()
    thread.join(20)
    assert not thread.is_alive()
    return raised[0]


@pytest.mark.parametrize("before_its_first_step", [True, False])
async def test_a_task_that_is_terminated_before_its_run_exists_was_cancelled_by_an_operator(
    tmp_path: Path, before_its_first_step: bool
) -> None:
    """E401 with who did it, as everywhere else; it is no failure of the worker."""
    server = await RunnerServer().start()
    try:
        async with runner_process(settings_of(server.port, tmp_path)) as process:
            place = Workplace()
            place.process = process
            error = await asyncio.to_thread(_terminated, place, before_its_first_step=before_its_first_step)
    finally:
        await server.stop()
    found = judge(type(error).__name__, str(error))
    assert found.code is Code.CANCELLED
    assert describe(found.code, found.facts).error == "Cancelled by an operator, who revoked the task [E401 CANCELLED]"
