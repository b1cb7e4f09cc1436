"""The logs of real processes as JSON: every line of every process is an object, whoever wrote it."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.integration.shared import SharedStacks
from tests.integration.stack import KEY, Process, Stack
from tests.support.ports import free_port
from tests.support.waiting import eventually

SECRET = "hunter2-of-the-run"


@pytest.fixture
def stack(servers: SharedStacks) -> Iterator[Stack]:
    with servers.lent(AGENT_RUNNER_CONCURRENCY="2", AGENT_RUNNER_LOG_FORMAT="json") as opened:
        yield opened


@pytest.fixture(params=["async", "prefork"])
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def lines(process: Process) -> list[dict[str, Any]]:
    """Raises where a line is no JSON object. A last line that is not ended is left for the next look."""
    whole = process.output().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def test_every_process_writes_objects_and_a_run_is_found_by_its_id(stack: Stack, pool: str) -> None:
    """Server, worker, Celery's lines and Flower's; two runs at once have lines of their own, in the worker's pool or
    its child, and none of them shows the secret."""
    port = free_port()
    flower = stack.start("flower", "--port", str(port))
    worker = stack.start_worker(AGENT_RUNNER_POOL=pool)
    ids = [stack.create(f"$ echo $TOKEN {n}", env={"TOKEN": SECRET})["metadata"]["id"] for n in (1, 2)]
    for id in ids:
        assert stack.wait_for(id)["status"]["phase"] == "EXECUTION_COMPLETED"

    def of(id: str) -> list[dict[str, Any]]:
        """Until its end is there, which is written after the server knows it."""
        found = [line for line in lines(worker) if line.get("execution_id") == id]
        return found if found and found[-1].get("event") == "run.ends" else []

    for id in ids:
        own = eventually(partial(of, id), what="the end in the log")
        run = own[[line.get("event") for line in own].index("run.begins") :]
        assert run[-1]["phase"] == "EXECUTION_COMPLETED"
        assert {(line["attempt"], line["fence"], line["session_id"]) for line in run} == {
            (run[0]["attempt"], run[0]["fence"], run[0]["session_id"])
        }
        assert all(line["worker"].startswith("worker-") for line in run)
    celery = [line for line in lines(worker) if line["logger"].startswith("celery")]
    assert any(line["message"].startswith("Task ExecuteGraphton[") for line in celery)
    assert not any("execution_id" in line for line in celery)
    eventually(lambda: any(line["logger"].startswith("flower") for line in lines(flower)), within_s=40, what="Flower")
    assert any(line.get("event") == "server.ready" for line in lines(stack.server))
    assert any(line["logger"] == "uvicorn.error" for line in lines(stack.server))
    for process in (worker, flower, stack.server):
        assert SECRET not in process.output()
        assert KEY not in process.output()
