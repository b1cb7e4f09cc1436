"""The control plane does what a simple model says, over real sockets, under any order of calls.

AGENT_RUNNER_TEST_EXAMPLES: how many examples, drawn anew each time; without it always the same few.
AGENT_RUNNER_TEST_SHRINK=0: stop at the first difference instead of looking for a shorter way to it.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.control_plane.conftest import settings_for
from tests.control_plane.machine import machine
from tests.control_plane.served import served

EXAMPLES, STEPS, BATCH = 20, 36, 2
VERDICTS = {
    "create Agent": "ok ALREADY_EXISTS",
    "create AgentInstance": "ok NOT_FOUND",
    "create Session": "ok NOT_FOUND",
    "create execution": "ok FAILED_PRECONDITION",
    "update resource": "ok NOT_FOUND",
    "delete resource": "ok NOT_FOUND",
    "updateStatus": "ok FAILED_PRECONDITION",
    "report": "waits",
    "phase": "1 2 3 4 5",
    "update execution": "ok FAILED_PRECONDITION",
    "delete execution": "ok FAILED_PRECONDITION",
    "get execution": "NOT_FOUND",
    "another org's": "NOT_FOUND",
}
WALKS = (
    "executions", "executions of a session", "executions over HTTP", "sessions", "sessions of an agent",
    "agents over HTTP", "instances of an agent", "by number", "several pages", "added meanwhile", "removed meanwhile",
)  # fmt: skip
"""Met in every run, or the test is about less than it says."""


@pytest.mark.timeout(3600)
@pytest.mark.promise("1.80")
@pytest.mark.promise("1.95")
@pytest.mark.promise("2.07")
def test_the_control_plane_does_what_the_model_says(tmp_path: Path, redis_url: str, database_url: str) -> None:
    """No sequence of calls by two orgs makes server and model differ, in answers, pages of lists or refusals."""
    examples = int(os.environ.get("AGENT_RUNNER_TEST_EXAMPLES", "0"))
    shrink = [Phase.shrink] if os.environ.get("AGENT_RUNNER_TEST_SHRINK", "1") != "0" else []
    with served(settings_for(tmp_path, redis_url, database_url)) as the_server:
        for batch in range(-(-(examples or EXAMPLES) // BATCH)):
            run_state_machine_as_test(
                machine(the_server, f"ControlPlane{batch}"),
                settings=settings(
                    max_examples=BATCH,
                    stateful_step_count=STEPS,
                    derandomize=not examples,  # each batch by its name
                    database=None,
                    phases=[Phase.generate, *shrink],
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        seen = the_server.seen
    met = {(what, how) for what, words in VERDICTS.items() for how in words.split()}
    met |= {("walk", name) for name in WALKS}
    assert {each: seen[each] for each in met if seen[each] < 2} == {}
