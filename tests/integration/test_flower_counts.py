"""Forty executions that end in eight ways: Flower counts those as failed that failed."""

import contextlib
from collections import Counter
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.integration.stack import Process, Stack
from tests.integration.test_flower import Flower, flower_of
from tests.support.waiting import eventually

SLOW = "$ sleep 40"


def counted(flower: Flower, kind: str) -> int:
    """The number on Flower's dashboard, over all workers."""
    rows = flower.http.get("/workers", params={"json": "1"}).raise_for_status().json()["data"]
    return sum(int(row.get(kind) or 0) for row in rows)


def made(stack: Stack, number: int, message: str = "hello", **given: object) -> list[str]:
    return [str(stack.create(message, **given)["metadata"]["id"]) for _ in range(number)]


def of_an_agent(stack: Stack, number: int, name: str, value: str) -> list[str]:
    """Executions of an agent of their own, with this annotation."""
    metadata = {"name": f"with {name}", "owner_scope": "organization", "annotations": {f"agent-runner/{name}": value}}
    spec = {"instructions": "Do what you are told."}
    body = {"api_version": "agentic.stigmer.ai/v1", "kind": "Agent", "metadata": metadata, "spec": spec}
    agent = stack.http.post("/v1/agents", json=body).raise_for_status().json()
    return made(stack, number, "$ echo one", agent=agent["metadata"]["slug"])


def end_of_all(stack: Stack, ids: list[str]) -> list[str]:
    for id in ids:
        stack.wait_for(id, within_s=90)
    return ids


def in_their_tools(stack: Stack, number: int) -> list[str]:
    """The command alone is also in the message, before any worker has the run."""
    ids = made(stack, number, SLOW)
    for id in ids:
        eventually(partial(calls_of, stack, id), within_s=60, what=f"the tool of {id}")
    return ids


def calls_of(stack: Stack, id: str) -> object:
    return stack.get(id)["status"].get("tool_calls")


def cancelled(stack: Stack, ids: list[str]) -> list[str]:
    for id in ids:
        stack.http.post(f"/v1/executions/{id}/cancel").raise_for_status()
    return end_of_all(stack, ids)


def lost(stack: Stack, worker: Process, number: int) -> list[str]:
    """Runs whose worker is killed, and its supervisor stopped after it."""
    ids = in_their_tools(stack, number)
    child = worker.child()
    # The worker first: a run whose command is killed before it goes on, and may end well.
    for process in [child, *child.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    end_of_all(stack, ids)
    worker.stop()
    return ids


@pytest.mark.timeout(300)
def test_failed_is_failed(tmp_path: Path) -> None:
    """FAILED is FAILURE, CANCELLED is REVOKED, COMPLETED is SUCCESS, also of a worker that is gone and of no worker."""
    with Stack.open(tmp_path, AGENT_RUNNER_CONCURRENCY="12") as stack, flower_of(stack) as flower:
        worker = stack.start_worker()
        completed = end_of_all(stack, made(stack, 12, "$ echo one"))
        failed = end_of_all(
            stack,
            [
                *of_an_agent(stack, 5, "budget", '{"model_calls": 1}'),
                *of_an_agent(stack, 4, "config", '{"recursion_limit": 2}'),
                *made(stack, 4, SLOW, timeouts={"start_to_close_s": 1}),
            ],
        )
        running = in_their_tools(stack, 4)
        behind = made(stack, 3, session_id=stack.get(running[0])["spec"]["session_id"])
        revoked = cancelled(stack, [*behind, *running])
        failed += lost(stack, worker, 4)
        failed += end_of_all(stack, made(stack, 4, timeouts={"schedule_to_start_s": 1}))
        everything = [*completed, *failed, *revoked]
        found = [stack.get(id)["status"] for id in everything]
        number = Counter(status["phase"] for status in found)["EXECUTION_FAILED"]
        codes = {status["error"].rpartition("[")[2][:4] for status in found if status.get("error")}
        ended = {id: one["phase"] for id, one in zip(everything, found, strict=True) if id in failed}
        others = {id: phase for id, phase in ended.items() if phase != "EXECUTION_FAILED"}
        assert (len(everything), number) == (40, 21), (failed, others)
        assert codes == {"E308", "E301", "E104", "E103", "E101", "E401"}
        eventually(
            lambda: counted(flower, "task-failed") == number,
            what=lambda: f"{counted(flower, 'task-failed')} failed in Flower, {number} in the store",
        )
        stack.start_worker()  # it meets the messages that nobody took
        for id in failed:
            shown = flower.until(f"{id}:execute", lambda t: t["state"] == "FAILURE", f"{id} as a failure")
            assert "[E" in shown["exception"]
        for id in running:
            flower.until(f"{id}:execute", lambda t: t["state"] == "REVOKED", f"{id} as revoked")
        for id in completed:
            flower.until(f"{id}:execute", lambda t: t["state"] == "SUCCESS", f"{id} as a success")
        end_of_all(stack, made(stack, 1))
        assert counted(flower, "task-failed") == number, "after the copies, too"


def test_the_old_way(tmp_path: Path) -> None:
    """`AGENT_RUNNER_CELERY_RESULT=success`: a failed execution is a result again, with its phase and code."""
    with Stack.open(tmp_path, AGENT_RUNNER_CELERY_RESULT="success") as stack, flower_of(stack) as flower:
        stack.start_worker()
        (id,) = end_of_all(stack, made(stack, 1, SLOW, timeouts={"start_to_close_s": 1}))
        shown = flower.until(f"{id}:execute", lambda t: t["state"] == "SUCCESS", "a success")
        assert "E104" in str(shown["result"])
