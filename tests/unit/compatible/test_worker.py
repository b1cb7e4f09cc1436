"""A worker's process in compatible reporting, with real LangGraph, against a server that has only the contract."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import ExecutionPhase, MessageType
from agent_runner.clients.reporting import whole_status
from agent_runner.tasks.ensure_thread import ensure_thread
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.worker.process import RunnerProcess
from tests.unit.compatible.contract_server import EXECUTION, SESSION, ContractServer, until
from tests.unit.tasks.runner_process import Quiet, runner_process

GRAPH = """
import asyncio
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

async def answer(state):
    what, _, argument = state["messages"][-1].content.partition(" ")
    if what == "raise":
        raise ValueError(argument)
    if what == "sleep":
        await asyncio.sleep(float(argument))
    if what == "count":
        return {"messages": [AIMessage(str(n)) for n in range(int(argument))]}
    return {"messages": [AIMessage("I know " + " / ".join(str(m.content) for m in state["messages"]))]}

async def last(state):
    return {"messages": [AIMessage("last")]}

builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_node("last", last)
builder.add_edge(START, "answer")
builder.add_edge("answer", "last")
builder.add_edge("last", END)
"""


@pytest.fixture
async def process(server: ContractServer, tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    (tmp_path / "graphs.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "./graphs.py:builder"}}))
    server.agent.metadata.annotations["agent-runner/graph"] = "agent"
    settings = server.settings(
        data_dir=tmp_path,
        graphs=tmp_path / "langgraph.json",
        checkpoint_url=f"sqlite:///{tmp_path}/memory.db",
    )
    async with runner_process(settings) as process:
        yield process


Run = Callable[[str], "asyncio.Future[Any]"]


@pytest.fixture
def run(process: RunnerProcess, server: ContractServer) -> Run:
    """Runs the execution anew with this message; the task's result."""

    def start(message: str) -> "asyncio.Future[Any]":
        server.execution.spec.message = message
        server.execution.ClearField("status")
        server.execution.status.phase = ExecutionPhase.EXECUTION_PENDING
        work = process.loop.submit(execute(process, EXECUTION, Quiet()))  # type: ignore[arg-type]
        return asyncio.ensure_future(asyncio.to_thread(work.result, 30))

    return start


@pytest.mark.promise("1.99")
async def test_a_run_from_its_claim_to_its_end(run: Run, server: ContractServer) -> None:
    """COMPLETED with every message; the task's result names the stored phase; no call but the contract's is made."""
    result = await run("hello")
    stored = server.execution.status
    assert result["phase"] == ExecutionPhase.Name(stored.phase) == "EXECUTION_COMPLETED"
    assert [(m.type, m.content) for m in stored.messages] == [
        (MessageType.MESSAGE_HUMAN, "hello"),
        (MessageType.MESSAGE_AI, "I know hello"),
        (MessageType.MESSAGE_AI, "last"),
    ]
    assert stored.started_at
    assert stored.completed_at
    assert server.foreign == []


@pytest.mark.promise("1.86")
async def test_each_event_counts(run: Run, server: ContractServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 messages in a burst are 101 events with the last one: ten updates between the start and the end."""
    for patience in ("MERGE_AFTER_S", "LAST_UPDATES_S"):
        monkeypatch.setattr(whole_status, patience, 20.0)  # a slow machine would merge or drop some
    await run("count 100")
    assert len(server.updates) == 1 + 10 + 1
    assert len(server.execution.status.messages) == 102


async def test_the_second_turn_knows_the_first(run: Run, server: ContractServer) -> None:
    """The memory goes on from the thread's last checkpoint."""
    await run("first")
    await run("second")
    assert server.session.spec.thread_id == f"thread-{SESSION}"
    assert server.execution.status.messages[1].content == "I know first / I know first / last / second"


async def test_a_failure_is_a_result(run: Run, server: ContractServer) -> None:
    """FAILED, with what went wrong as a message; the task itself succeeds."""
    result = await run("raise test error")
    assert (result["phase"], result["code"]) == ("EXECUTION_FAILED", "E301")
    assert server.execution.status.error.endswith("[E301 APPLICATION]")
    assert server.execution.status.messages[-1].type == MessageType.MESSAGE_SYSTEM


async def test_what_cannot_be_resolved_ends_the_run(run: Run, server: ContractServer) -> None:
    """A missing environment is the reason that users read."""
    server.instance.spec.environment_refs.add(slug="gone")
    result = await run("hello")
    assert (result["phase"], result["code"]) == ("EXECUTION_FAILED", "E304")
    assert "'gone'" in server.execution.status.error


async def test_updates_that_fail_do_not_fail_the_run(run: Run, server: ContractServer) -> None:
    """Every second one is refused: COMPLETED, with everything."""
    server.refuse = lambda method, number: (
        grpc.StatusCode.UNAVAILABLE if method == "AgentExecution.updateStatus" and number % 2 else None
    )
    result = await run("count 55")
    assert result["phase"] == "EXECUTION_COMPLETED"
    assert len(server.execution.status.messages) == 57


async def test_a_leaving_worker_lets_its_runs_end(run: Run, process: RunnerProcess, server: ContractServer) -> None:
    """They cannot go on elsewhere, so they are not stopped at their next step but have the drain time."""
    result = run("sleep 0.5")
    await until(lambda: server.execution.status.phase == ExecutionPhase.EXECUTION_IN_PROGRESS)
    process.drain("leaving", 20)
    assert (await result)["phase"] == "EXECUTION_COMPLETED"
    assert server.execution.status.messages[-1].content == "last"


async def test_an_end_by_somebody_else(run: Run, server: ContractServer) -> None:
    """What was ended meanwhile stays as it was, and the task's result says so."""
    result = run("sleep 0.5")
    await until(lambda: server.execution.status.phase == ExecutionPhase.EXECUTION_IN_PROGRESS)
    server.execution.status.phase = ExecutionPhase.EXECUTION_CANCELLED
    assert (await result)["phase"] == "EXECUTION_CANCELLED"
    assert server.execution.status.phase == ExecutionPhase.EXECUTION_CANCELLED


async def test_the_first_step_of_the_chain(process: RunnerProcess, server: ContractServer) -> None:
    """EnsureThread does nothing, and does not fail: the claim finds the thread."""
    work = process.loop.submit(ensure_thread(process, EXECUTION))
    assert await asyncio.to_thread(work.result, 10) == {"execution_id": EXECUTION, "thread_id": ""}
    assert server.calls == []
