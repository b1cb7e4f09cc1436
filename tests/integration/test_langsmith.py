"""Law L9 for traces: a worker that sends them to LangSmith sends none of the canaries."""

from pathlib import Path

import pytest

from tests.integration.stack import Stack
from tests.integration.test_canary import Canaries, door, message, session_with_secrets
from tests.support.langsmith_receiver import receiver
from tests.support.waiting import eventually


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_no_secret_is_traced(tmp_path: Path, pool: str) -> None:
    """The tools use three secrets and print them in every form; the traces have the calls, and asterisks."""
    canaries = Canaries()
    with receiver() as langsmith, door(canaries.values) as (port, calls):
        settings = {
            "LANGCHAIN_TRACING_V2": "true",
            "LANGSMITH_ENDPOINT": langsmith.url,
            "LANGSMITH_PROJECT": "of tests",
        }
        with Stack.open(tmp_path, AGENT_RUNNER_SANDBOX_NETWORK="on", AGENT_RUNNER_POOL=pool, **settings) as stack:
            stack.start_worker()
            session = session_with_secrets(stack, canaries)
            env = {"FROM_RUNTIME": canaries.values["FROM_RUNTIME"]}
            id = stack.create(message(port), session_id=session, env=env)["metadata"]["id"]
            stack.wait_for(id, "EXECUTION_COMPLETED", within_s=90)
            eventually(lambda: b"of tests" in langsmith.everything, what="the traces")
            stack.stop_all()  # what was not sent yet is sent now
        everything = langsmith.everything
    assert calls == [True], "the tool did not use the three values"
    assert everything.count(b"********") > 10
    assert b"printenv FROM_AGENT" in everything
    assert canaries.found_in([("LangSmith", everything)]) == []


@pytest.mark.timeout(300)
def test_a_caller_cannot_switch_it_on(tmp_path: Path) -> None:
    """The environment of an execution asks for traces; the worker of an operator who did not sends none."""
    with receiver() as langsmith, Stack.open(tmp_path) as stack:
        stack.start_worker()
        env = {
            "LANGSMITH_TRACING": "true",
            "LANGCHAIN_TRACING_V2": "true",
            "LANGSMITH_ENDPOINT": langsmith.url,
            "LANGSMITH_API_KEY": "ls-key-123456",
        }
        for text in ("$ echo one", "$ echo two"):
            stack.wait_for(stack.create(text, env=env)["metadata"]["id"], "EXECUTION_COMPLETED")
        (worker,) = (process for process in stack.processes if process.name == "worker")
        worker.stop()
    assert langsmith.bodies == []
