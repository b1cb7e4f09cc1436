"""What a run of a user's graph costs besides the graph, in counts: hops to threads and tasks."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.engine.memory.checkpoints import SqliteMemory
from agent_runner.clients.engine.turn import call_config
from agent_runner.clients.process import threads
from agent_runner.status.phases import Phase
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.run.progress import Progress
from agent_runner.tasks.worker.process import RunnerProcess
from tests.unit.tasks.runner_process import runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer

GRAPH = """
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

async def reply(state):
    return {"messages": [AIMessage("yes")]}

graph = StateGraph(MessagesState).add_node("reply", reply).add_edge(START, "reply")
"""


@pytest.fixture
async def server() -> AsyncIterator[RunnerServer]:
    server = await RunnerServer().start()
    claim = server.claim_reply
    claim.graph, claim.thread_id, claim.message, claim.session.metadata.id = "agent", "thread-1", "go", "ses-1"
    yield server
    await server.stop()


@pytest.fixture
async def process(server: RunnerServer, tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    (tmp_path / "graphs.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "./graphs.py:graph"}}))
    async with runner_process(settings_of(server.port, tmp_path, graphs=tmp_path / "langgraph.json")) as process:
        yield process


async def run(process: RunnerProcess, server: RunnerServer) -> None:
    """A run that nobody's Flower watches; the server forgets what the run before has stored."""
    server.stored.clear()
    work = process.loop.submit(execute(process, "exec-1", Progress(None, "task-1", "host")))  # type: ignore[arg-type]
    result = await asyncio.to_thread(work.result, 30)
    assert result["phase"] == Phase.COMPLETED.wire_name


async def test_a_run_visits_no_thread(
    server: RunnerServer, process: RunnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its graph is loaded: each visit wakes a thread, and then the loop, which all runs share."""
    await run(process, server)
    visits: list[Any] = []
    saver = process.memory.saver
    assert isinstance(saver, SqliteMemory)

    def counted(visit: Any) -> Any:
        def visits_too(*work: Any) -> Any:
            visits.append(work)
            return visit(*work)

        return visits_too

    monkeypatch.setattr(threads._own, "submit", counted(threads._own.submit))
    monkeypatch.setattr(saver.conn, "_execute", counted(saver.conn._execute))
    await run(process, server)
    assert visits == []


async def test_a_run_makes_few_tasks(server: RunnerServer, process: RunnerProcess) -> None:
    """Besides those of LangGraph and of the graph's stream: the run's own, its agent, its end and its release."""
    await run(process, server)
    made: list[str] = []
    make: Any = process.loop._make_task

    def counted(work: Any, **options: Any) -> Any:
        code = getattr(work, "cr_code", None)
        if code is not None and "/agent_runner/tasks/" in code.co_filename:
            made.append(code.co_qualname)
        return make(work, **options)

    process.loop._make_task = counted
    await run(process, server)
    assert len(made) <= 4, made


async def test_a_users_graph_is_watched_by_few_handlers() -> None:
    """LangChain looks at each of them for every event of every node, model and tool. Two more are beside the stream."""
    config = call_config(CurrentRun(thread_id="thread-1"), Bundle(graph="agent"))
    assert len(config["callbacks"]) <= 2  # type: ignore[arg-type]
