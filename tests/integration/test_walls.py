"""What commands run in, as readers of a real stack see it; and a worker that must not start."""

import pytest

from agent_runner.clients.sandbox.isolation import isolation_of
from agent_runner.clients.settings.settings import Settings
from tests.integration.stack import Stack
from tests.support.waiting import eventually

NO_PROGRAM = {"AGENT_RUNNER_SANDBOX_BUBBLEWRAP": "no-such-program", "AGENT_RUNNER_SANDBOX_USERS": "none"}
WHY = "not isolated: bubblewrap (no-such-program) is not installed"


@pytest.mark.parametrize("said", ["isolated", WHY])
def test_everybody_is_told_what_commands_run_in(stack: Stack, said: str) -> None:
    """The worker's log, the list of workers and every execution; the run itself works in both ways."""
    if said == "isolated" and isolation_of(Settings(sandbox="local")).walls is None:
        pytest.skip("commands cannot be walled off here")
    worker = stack.start_worker(**({} if said == "isolated" else NO_PROGRAM))
    assert f"commands of agents are {said}" in worker.output()
    assert [one["sandbox"] for one in stack.workers()] == [said]
    id = stack.create("$ ls -d ../../../agent-runner.db && echo there\n$ echo works")["metadata"]["id"]
    ended = stack.wait_for(id)
    assert ended["status"]["phase"] == "EXECUTION_COMPLETED"
    assert stack.get(id)["sandbox"] == said
    looked, worked = ended["status"]["tool_calls"]
    assert ("there" in looked.get("result", "")) is (said == WHY)
    assert "works" in worked["result"]


def test_the_server_is_told_why_a_worker_does_not_start_without_walls(stack: Stack) -> None:
    """An execution that finds no worker quotes it."""
    stack.start("worker", MODE="production", **NO_PROGRAM)
    failures = eventually(lambda: stack.http.get("/v1/workers").json()["startup_failures"], what="its report")
    (failure,) = failures.values()
    assert "cannot be walled off here: bubblewrap (no-such-program) is not installed" in failure["text"]
    assert "AGENT_RUNNER_SANDBOX_UNSAFE" in failure["text"]
