"""The harness can fail: what did not happen proves nothing. And an execution runs under its server's timeouts."""

from pathlib import Path

import pytest

from agent_runner.status.timeouts import Timeouts, ensure_thread_total_s
from tests.faults.catalogue import Row, load
from tests.faults.fault_stack import FaultStack
from tests.faults.scene import Judgement, Scene
from tests.faults.witness import Seen, Witness


def judged(*evidence: bool) -> Judgement:
    row = Row(fault="F99", part="", title="nothing", pools=("async",), ends={}, settings={}, reconnects=False, needs="")
    scene = Scene(row, "async", load(), FaultStack(folder=Path("/nowhere"), settings={}))
    for happened in evidence:
        scene.evidence(happened, "the process died")
    return scene.judge()


@pytest.mark.parametrize("evidence", [(), (False,), (True, False)])
def test_a_fault_that_did_not_happen_fails_the_row(evidence: tuple[bool, ...]) -> None:
    """No evidence, or some that is false: vacuous."""
    assert [problem.partition(":")[0] for problem in judged(*evidence).problems] == ["vacuous"]
    assert judged(True).problems == ()


def test_a_subscriber_without_the_end_or_with_a_gap_is_a_problem() -> None:
    """Each of the three must have been sent the terminal event; rows come without gaps."""
    witness = Witness("exec-1", http_port=1, grpc_port=1)
    witness.sse.rows += [Seen(seq=seq, kind="text", payload={}, arrived=0.0) for seq in (1, 3)]
    problems = " ".join(witness.problems())
    assert all(f"{subscriber.name} got no terminal event" in problems for subscriber in witness.all)
    assert "SSE has gaps" in problems


def test_an_execution_that_asks_for_nothing_runs_under_the_servers_timeouts() -> None:
    """Also where schedule-to-close is less than a second above what it must exceed."""
    short = Timeouts(
        schedule_to_start_s=1, heartbeat_s=1, start_to_close_s=3, settle_grace_s=0.5, ensure_thread_s=1.5,
        schedule_to_close_s=7.1,
    )  # fmt: skip
    assert short.overridden({}) == short
    assert short.overridden({"heartbeat_s": 2}).schedule_to_close_s == 7.1
    assert short.overridden({"start_to_close_s": 5}).schedule_to_close_s > 9


def test_the_length_of_ensure_thread() -> None:
    """Three attempts and the pauses between them: 105 s by default."""
    assert ensure_thread_total_s() == 105
    assert ensure_thread_total_s(2, 0.5) == 3 * 2 + 0.5 + 1
