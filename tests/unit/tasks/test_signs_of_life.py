"""What a worker process allows its supervisor to think of its silence: nothing, while a run of it may be open."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent_runner.status.timeouts import silent_process_s
from agent_runner.tasks.worker.process import RunnerProcess
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.tasks.runner_process import settings_of


def run_of(number: int, **limits: Any) -> Any:
    reply = pb.ClaimReply(**limits)
    return SimpleNamespace(id=f"aex-{number}", log=SimpleNamespace(handle=number), claim=SimpleNamespace(reply=reply))


@pytest.mark.parametrize(("reporting", "longest_s"), [("native", 300.0), ("compatible", 900.0)])
def test_a_process_may_be_silent_for_as_long_as_its_runs(tmp_path: Path, reporting: str, longest_s: float) -> None:
    """The longest heartbeat timeout of what runs counts, without heartbeats the longest run, when idle the setting."""
    settings = settings_of(1, tmp_path, reporting=reporting, heartbeat_timeout_s=30.0)
    process = RunnerProcess(settings, role="worker", queue="q", incarnation="inc", name="worker@here", slots=2)
    short, long = run_of(1, heartbeat_s=20, start_to_close_s=60), run_of(2, heartbeat_s=300, start_to_close_s=900)
    assert process.silence_s == silent_process_s(30.0) == 40.0
    process.own(short)
    process.own(long)
    assert process.silence_s == silent_process_s(longest_s) == longest_s * 4 / 3
    process.disown(long)
    process.disown(short)
    process.loop._loop.close()  # it never ran, and nothing else closes it
    assert process.silence_s == silent_process_s(30.0)
