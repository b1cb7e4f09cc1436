"""The sandbox that an agent chooses, in a run of this process: that one, or E305 with the reason."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.status.phases import Phase
from agent_runner.tasks.cleanup_sandbox import cleanup_sandbox
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.worker.process import RunnerProcess
from tests.support.fake_engine import FakeEngine, fake_engine
from tests.unit.tasks.runner_process import Quiet, runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer

GRAPH = """
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from agent_runner.clients.engine.engines.sandbox_backend import CurrentSandboxBackend

async def act(state):
    said = state["messages"][-1].text
    if not said.startswith("$ "):
        return {"messages": [AIMessage("nothing to run")]}
    return {"messages": [AIMessage((await CurrentSandboxBackend().aexecute(said[2:])).output)]}

graph = StateGraph(MessagesState).add_node("act", act).add_edge(START, "act").add_edge("act", END).compile()
"""


@pytest.fixture
async def server() -> AsyncIterator[RunnerServer]:
    server = await RunnerServer().start()
    claim = server.claim_reply
    claim.thread_id, claim.message, claim.model_name = "thread-1", "$ echo $((6 * 7)) > answer; cat answer", "demo"
    claim.session.metadata.id = claim.sandbox_id = "ses-1"
    claim.agent.spec.instructions = "Help."
    yield server
    await server.stop()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
async def process(server: RunnerServer, engine: FakeEngine, tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    """A worker whose own kind is local, and that offers docker and none besides."""
    (tmp_path / "graphs.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"own": "./graphs.py:graph"}}))
    given: dict[str, Any] = {"sandbox": "local", "sandbox_kinds": "docker,none", "sandbox_docker_host": engine.url}
    given |= {"graphs": tmp_path / "langgraph.json"}
    async with runner_process(settings_of(server.port, tmp_path, llm_provider="demo", **given)) as process:
        yield process


async def run(process: RunnerProcess, server: RunnerServer, wanted: str) -> dict[str, Any]:
    server.claim_reply.agent.metadata.annotations["agent-runner/sandbox"] = wanted
    work = process.loop.submit(execute(process, "exec-1", Quiet()))  # type: ignore[arg-type]
    await asyncio.to_thread(work.result, 60)
    (settled,) = server.settled
    return {"phase": settled.phase, "code": settled.code, **json.loads(settled.facts_json or "{}")}


@pytest.mark.promise("6.10")
async def test_an_agents_commands_run_in_the_container_that_it_chose(
    server: RunnerServer, process: RunnerProcess, engine: FakeEngine
) -> None:
    """The container ends with the run, stays for the session's next one, and goes when the session is cleaned up."""
    assert (await run(process, server, "docker"))["phase"] == Phase.COMPLETED
    assert any("42" in payload["result"] for kind, payload in server.stored if kind == "tool_end")
    (container,) = engine.containers.values()
    assert not container.state["Running"]
    assert len([call for call in engine.calls if call.endswith("/exec")]) == 1
    answer = process.settings.data_dir / "sandboxes" / "ses-1" / "workspace" / "answer"
    assert answer.read_text() == "42\n"
    work = process.loop.submit(cleanup_sandbox(process, "ses-1", "ses-1"))
    assert (await asyncio.to_thread(work.result, 30))["removed"]
    assert (engine.containers, answer.exists()) == ({}, False)


async def test_output_that_came_with_the_engines_answer_is_read(
    server: RunnerServer, process: RunnerProcess, engine: FakeEngine
) -> None:
    """The docker SDK loses it (`findings/first-output-stays-in-the-reader.sh`)."""
    engine.first_output = b"\x01\0\0\0\0\0\0\x06early\n"
    assert (await run(process, server, "docker"))["phase"] == Phase.COMPLETED
    (result,) = [payload["result"] for kind, payload in server.stored if kind == "tool_end"]
    assert result.startswith("early\n42\n")


@pytest.mark.promise("6.10")
async def test_an_agent_may_choose_none(server: RunnerServer, process: RunnerProcess, engine: FakeEngine) -> None:
    """Then it has no commands, on a worker that has a sandbox."""
    assert (await run(process, server, "none"))["phase"] == Phase.COMPLETED
    assert not any("42" in str(payload.get("result")) for kind, payload in server.stored if kind == "tool_end")
    assert not any((process.settings.data_dir / "sandboxes").glob("*"))


@pytest.mark.promise("6.10")
async def test_what_the_worker_does_not_offer_is_refused(server: RunnerServer, process: RunnerProcess) -> None:
    """E305 names the kind that was wanted, and what there is. Nothing runs."""
    told = await run(process, server, "daytona")
    assert (told["phase"], told["code"], told["what"]) == (Phase.FAILED, "E305", "daytona")
    assert "this worker offers local, docker, none" in told["original_error"]
    assert not any(kind == "tool_start" for kind, _ in server.stored)


@pytest.mark.promise("6.10")
async def test_nothing_takes_the_place_of_an_engine_that_is_away(
    server: RunnerServer, process: RunnerProcess, engine: FakeEngine
) -> None:
    """The worker could run the command itself, and does not."""
    engine.refuses["GET /_ping"] = (500, "the daemon is shutting down")
    told = await run(process, server, "docker")
    assert (told["phase"], told["code"], told["what"]) == (Phase.FAILED, "E305", "docker")
    assert "the daemon is shutting down" in told["original_error"]
    assert not any(kind == "tool_start" for kind, _ in server.stored)


async def test_a_graph_that_runs_nothing_gets_no_sandbox(
    server: RunnerServer, process: RunnerProcess, engine: FakeEngine
) -> None:
    """Neither a container nor a directory is made for it, so that an engine that is away does not matter."""
    server.claim_reply.graph, server.claim_reply.message = "own", "hello"
    engine.refuses["GET /_ping"] = (500, "the daemon is shutting down")
    assert (await run(process, server, "docker"))["phase"] == Phase.COMPLETED
    assert (engine.containers, (process.settings.data_dir / "sandboxes").exists()) == ({}, False)


@pytest.mark.parametrize("kind", ["docker", "local"])
async def test_a_graph_that_runs_a_command_gets_its_sandbox_then(
    server: RunnerServer, process: RunnerProcess, engine: FakeEngine, kind: str
) -> None:
    """The kind that was chosen. What it started ends with the run."""
    server.claim_reply.graph = "own"
    assert (await run(process, server, kind))["phase"] == Phase.COMPLETED
    answer = process.settings.data_dir / "sandboxes" / "ses-1" / "workspace" / "answer"
    assert answer.read_text() == "42\n"
    assert [one.state["Running"] for one in engine.containers.values()] == [False] * (kind == "docker")


async def test_a_graph_reads_why_it_has_no_sandbox(
    server: RunnerServer, process: RunnerProcess, engine: FakeEngine
) -> None:
    """Its first use fails; a graph that lets the error out ends with the code of an agent's."""
    server.claim_reply.graph = "own"
    engine.refuses["GET /_ping"] = (500, "the daemon is shutting down")
    told = await run(process, server, "docker")
    assert (told["phase"], told["code"], told["what"]) == (Phase.FAILED, "E305", "docker")
    assert "the daemon is shutting down" in told["original_error"]
