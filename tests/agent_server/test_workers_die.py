"""The laws of executions hold for runs of LangGraph's SDK: a killed worker is told, nothing runs twice or is lost."""

import asyncio
import os
import random
import time
from typing import Any

import psutil
import pytest
from langgraph_sdk.errors import ConflictError

from tests.agent_server.test_runs import ended, new_thread
from tests.integration.stack import Process, Stack

THREADS, RUNS, KILLS = (20, 10, 2) if os.environ.get("AGENT_RUNNER_TEST_MANY_RUNS") else (4, 4, 1)
STEP = {"left": 1, "seconds": 0.05}


def kill(worker: Process) -> float:
    """The supervisor's child, as a crash would end it. When."""
    worker.child().kill()
    return time.monotonic()


@pytest.mark.promise("5.09")
async def test_a_killed_worker_is_an_error_of_the_stream(client: Any, served: Stack) -> None:
    """E103 with the next step, soon; the thread takes the next run, from the steps that were finished."""
    thread = await new_thread(client)
    begun, killed, error = False, 0.0, None
    slow = {"left": 100, "seconds": 0.3, "tag": "a"}
    async for part in client.runs.stream(thread, "steps", input=slow, stream_mode="values"):
        if part.event == "values" and part.data.get("ran") and not begun:
            begun = True
            for worker in [p for p in served.processes if p.name == "worker"]:
                killed = kill(worker)
        elif part.event == "error":
            error = part.data
    assert error is not None
    assert (error["error"], error["code"]) == ("WorkerLost", "E103")
    assert error["next_step"]
    assert time.monotonic() - killed < 20
    (run,) = await client.runs.list(thread)
    assert run["status"] == "error"
    after = await client.runs.wait(thread, "steps", input={**STEP, "tag": "b"})
    assert after["ran"][0] == "a0"
    assert after["ran"][-1].startswith("b")


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt", "rollback", "reject"])
async def test_strategies_hold_while_workers_are_killed(client: Any, served: Stack, strategy: Any) -> None:
    """Every run ends; a thread has the steps of its successful runs, each once, in the order in which they were made,
    and of rolled-back ones none."""
    threads = [await new_thread(client) for _ in range(THREADS)]
    made: dict[str, list[str]] = {thread: [] for thread in threads}

    async def fill(thread: str) -> None:
        for number in range(RUNS):
            given = {**STEP, "tag": f"r{number}."}
            try:
                run = await client.runs.create(thread, "steps", input=given, multitask_strategy=strategy)
            except ConflictError:
                refused.append(number)
                continue
            made[thread].append(run["run_id"])
            await asyncio.sleep(random.uniform(0, 0.2))

    refused: list[int] = []
    filling = [asyncio.create_task(fill(thread)) for thread in threads]
    for _ in range(KILLS):
        await asyncio.sleep(0.4)
        kill(next(p for p in served.processes if p.name == "worker" and psutil.pid_exists(p.pid)))
    await asyncio.gather(*filling)
    assert not refused or strategy == "reject"
    for thread, runs in made.items():
        told = {run: await ended(client, thread, run) for run in runs}
        assert all(status in ("success", "error", "interrupted", "") for status in told.values())
        last = await client.runs.wait(thread, "steps", input={**STEP, "tag": "end."})
        numbers = [int(one[1]) for one in last["ran"] if one.startswith("r")]
        assert numbers == sorted(set(numbers))
        assert len(numbers) >= sum(status == "success" for status in told.values())
        if strategy == "rollback":
            listed = {run["run_id"] for run in await client.runs.list(thread, limit=50)}
            assert not {run for run, status in told.items() if not status} & listed
