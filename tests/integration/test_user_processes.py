"""An agent's own code may start processes of its own, on either pool."""

import json
import os
import re
import signal

import psutil
import pytest

from agent_runner.tasks.worker.forks.grpc_in_forks import NO_GRPC
from tests.integration.shared import SharedStacks
from tests.integration.stack import Stack
from tests.support.waiting import eventually

BOTH_POOLS = pytest.mark.parametrize("pool", ["async", "prefork"])

SOURCE = """
import asyncio
import math
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TypedDict

import grpc
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph


class Work(TypedDict, total=False):
    pool: list[int]
    executor: list[int]
    spawned: list[int]
    process: int
    tool: int
    command: str
    terminated: int
    grpc: str
    variable: str


def triple(n: int) -> int:
    return 3 * n


def wait_for_ever() -> None:
    time.sleep(600)


def open_channel(address: str) -> str:
    try:
        grpc.insecure_channel(address)
    except RuntimeError as error:
        return str(error)
    return "opened"


def by_pool(state: Work) -> Work:
    with multiprocessing.Pool(2) as pool:  # it ends by SIGTERM to its processes
        return {"pool": pool.map(triple, [1, 2, 3])}


async def by_executor(state: Work) -> Work:
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as executor:
        found = await asyncio.gather(*(loop.run_in_executor(executor, triple, n) for n in (1, 2, 3)))
    return {"executor": list(found)}


def by_spawn(state: Work) -> Work:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return {"spawned": list(executor.map(math.factorial, [3, 4]))}


def by_process(state: Work) -> Work:
    process = multiprocessing.Process(target=wait_for_ever)
    process.start()
    process.terminate()
    process.join(20)
    return {"terminated": process.exitcode}


@tool
def counted(n: int) -> int:
    "Counts in another process."
    with multiprocessing.Pool(1) as pool:
        return pool.apply(triple, (n,))


async def by_tool(state: Work) -> Work:
    return {"tool": await counted.ainvoke({"n": 14})}


def by_command(state: Work) -> Work:
    return {"command": subprocess.run(["echo", "said"], capture_output=True, text=True, check=True).stdout.strip()}


def by_grpc(state: Work) -> Work:
    with ProcessPoolExecutor(1) as forked:
        said = forked.submit(open_channel, "127.0.0.1:1").result()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as spawned:
        variable = spawned.submit(os.getenv, "GRPC_ENABLE_FORK_SUPPORT", "not set").result()
    return {"grpc": said, "variable": variable}


def stay(state: Work) -> Work:
    process = multiprocessing.Process(target=wait_for_ever)
    process.start()
    print(f"STAYS {process.pid}", file=sys.stderr, flush=True)
    process.join()
    return {}


def chain(*steps):
    builder = StateGraph(Work)
    before = START
    for step in steps:
        builder.add_node(step.__name__, step)
        builder.add_edge(before, step.__name__)
        before = step.__name__
    builder.add_edge(before, END)
    return builder.compile()


graph = chain(by_pool, by_executor, by_spawn, by_process, by_tool, by_command, by_grpc)
staying = chain(stay)
"""


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file that names them."""
    folder = tmp_path_factory.mktemp("graphs")
    (folder / "processes.py").write_text(SOURCE)
    names = {"processes": "./processes.py:graph", "staying": "./processes.py:staying"}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": names}))
    return str(folder / "langgraph.json")


def start(stack: Stack, graph: str) -> str:
    created = stack.http.post("/v1/executions", json={"graph": graph, "input": {}})
    assert created.status_code == 201, created.text
    return str(created.json()["metadata"]["id"])


@BOTH_POOLS
def test_multiprocessing_and_commands_work(servers: SharedStacks, graphs: str, pool: str) -> None:
    """Pools, executors, single processes, also started anew or ended at once, and commands: from nodes and tools.

    A forked process that uses gRPC is told to be spawned; what is spawned inherits nothing of the worker's gRPC."""
    with servers.lent(AGENT_RUNNER_GRAPHS=graphs) as stack:
        stack.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="2")
        ended = stack.wait_for(start(stack, "processes"), within_s=60)
        assert ended["status"]["phase"] == "EXECUTION_COMPLETED", ended["status"]
        assert ended["output"] == {
            "pool": [3, 6, 9],
            "executor": [3, 6, 9],
            "spawned": [6, 24],
            "terminated": -signal.SIGTERM,
            "tool": 42,
            "command": "said",
            "grpc": NO_GRPC,
            "variable": "not set",
        }
        # The worker is as it was: the next run, too, has its answer.
        after = stack.create("$ echo after")["metadata"]["id"]
        assert stack.wait_for(after)["status"]["phase"] == "EXECUTION_COMPLETED"


@BOTH_POOLS
def test_they_end_with_their_worker(servers: SharedStacks, graphs: str, pool: str) -> None:
    """What a killed worker's agents had forked is gone soon: it would hold the worker's connections open."""
    with servers.lent(AGENT_RUNNER_GRAPHS=graphs) as stack:
        worker = stack.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="2")
        id = start(stack, "staying")
        line = eventually(lambda: re.search(r"STAYS (\d+)\n", worker.output()), what="the process, a whole line")
        stays = psutil.Process(int(line[1]))
        child = worker.child()
        worker.kill(signal.SIGKILL)
        os.kill(child.pid, signal.SIGKILL)
        assert stack.wait_for(id)["status"]["error"].endswith("[E103 WORKER_LOST]")
        eventually(lambda: not stays.is_running(), what="the forked process to end")
