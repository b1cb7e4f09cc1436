"""MCP servers in a run of this process: started before the agent, called by it, told in the status, gone at its end."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.status.phases import Phase
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.worker.process import RunnerProcess
from agent_runner.v1 import runner_pb2 as pb
from tests.support.waiting import eventually
from tests.unit.mcp.world import HERE, processes_in
from tests.unit.tasks.runner_process import Quiet, runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer

SECRET = "s3cret-of-the-run"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunnerServer]:
    workspace = tmp_path / "sandboxes" / "ses-1" / "workspace"
    workspace.mkdir(parents=True)
    for name in ("bare_server.py", "result_server.py"):
        shutil.copy(HERE / name, workspace)
    server = await RunnerServer().start()
    claim = server.claim_reply
    claim.thread_id, claim.message, claim.model_name = "thread-1", "hello", "demo"
    claim.start_to_close_s = 200
    claim.session.metadata.id = "ses-1"
    claim.agent.spec.instructions = "Use your tools."
    yield server
    await server.stop()


@pytest.fixture
async def process(server: RunnerServer, tmp_path: Path, request: Any) -> AsyncIterator[RunnerProcess]:
    given = {"sandbox": "local", "mcp_start_timeout_s": 100.0} | getattr(request, "param", {})
    async with runner_process(settings_of(server.port, tmp_path, llm_provider="demo", **given)) as process:
        yield process


def add(server: RunnerServer, name: str, *args: str, **env: str) -> Any:
    definition = server.claim_reply.agent.spec.mcp_servers.add(name=name)
    definition.stdio.command = sys.executable
    definition.stdio.args.extend(args)
    definition.stdio.env_placeholders.update(env)
    return definition


async def run(process: RunnerProcess) -> None:
    work = process.loop.submit(execute(process, "exec-1", Quiet()))  # type: ignore[arg-type]
    await asyncio.to_thread(work.result, 200)


def told(server: RunnerServer) -> dict[str, Any]:
    (settled,) = server.settled
    return {"phase": settled.phase, "code": settled.code, **json.loads(settled.facts_json or "{}")}


def calls_in(server: RunnerServer) -> list[tuple[str, dict[str, Any]]]:
    """Each tool call that has ended: the tool's name, and what the status was told of the end."""
    names = {row["id"]: row["name"] for kind, row in server.stored if kind == "tool_call"}
    return [(names[row["id"]], row) for kind, row in server.stored if kind == "tool_end"]


def ends(server: RunnerServer) -> dict[str, dict[str, Any]]:
    return dict(calls_in(server))


@pytest.mark.promise("1.103")
async def test_an_agent_uses_the_tools_of_its_server(
    server: RunnerServer, process: RunnerProcess, tmp_path: Path
) -> None:
    """Results of several kinds are in the status, secrets masked, pictures by reference; then no process is left."""
    server.claim_reply.env["TOKEN"] = SECRET
    server.claim_reply.secret_names.append("TOKEN")
    add(server, "results", "result_server.py", API_KEY="${TOKEN}")
    calls = ['text {"say": "hello"}', "picture", "sound", "link", "failing", "environment", "no_such_tool"]
    server.claim_reply.message = "\n".join(f"> call {call}" for call in calls)
    await run(process)
    assert told(server)["phase"] == Phase.COMPLETED, told(server)
    found = ends(server)
    assert found["text"]["result"] == "hello"
    assert "image/png" in found["picture"]["result"]
    assert "a sound, audio/wav" in found["sound"]["result"]
    assert "file:///notes/a.md" in found["link"]["result"]
    assert found["failing"]["status"] == "TOOL_CALL_FAILED"
    assert "the disk is on fire" in json.dumps(found["failing"])
    assert "API_KEY=********" in found["environment"]["result"]
    assert SECRET not in json.dumps(server.stored)
    assert found["no_such_tool"]["status"] == "TOOL_CALL_FAILED"
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the run is left")


async def test_a_server_that_dies_is_a_failed_call_and_not_a_failed_run(
    server: RunnerServer, process: RunnerProcess
) -> None:
    """The agent reads how it ended, goes on, and completes."""
    add(server, "results", "result_server.py")
    server.claim_reply.message = '> call die {"code": 9}\n$ echo it goes on'
    await run(process)
    assert told(server)["phase"] == Phase.COMPLETED
    found = ends(server)
    assert found["die"]["status"] == "TOOL_CALL_FAILED"
    assert "exit code 9" in json.dumps(found["die"])
    assert "it goes on" in found["execute"]["result"]


@pytest.mark.parametrize("process", [{"mcp_start_timeout_s": 1.0}], indirect=True)
async def test_a_server_that_does_not_start(server: RunnerServer, process: RunnerProcess, tmp_path: Path) -> None:
    """The run ends E307 before the agent's first step: without its tools it would do something else than was asked."""
    add(server, "slow", "bare_server.py", "hang")
    await run(process)
    end = told(server)
    assert (end["phase"], end["code"], end["what"]) == (Phase.FAILED, "E307", "slow")
    assert "not ready within 1 s" in end["original_error"]
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the run is left")


async def test_a_variable_that_no_layer_has(server: RunnerServer, process: RunnerProcess) -> None:
    """The run ends E304."""
    add(server, "bare", "bare_server.py", KEY="${MISSING}")
    await run(process)
    assert (told(server)["code"], told(server)["what"]) == ("E304", "bare")


async def test_the_docker_form_is_refused(server: RunnerServer, process: RunnerProcess) -> None:
    """With its reason."""
    server.claim_reply.agent.spec.mcp_servers.add(name="boxed").docker.image = "mcp/time"
    await run(process)
    assert told(server)["code"] == "E307"
    assert "docker form" in told(server)["original_error"]


async def test_a_cancel_in_the_middle_of_a_call(server: RunnerServer, process: RunnerProcess, tmp_path: Path) -> None:
    """The run ends at once, and its server with it."""
    add(server, "results", "result_server.py")
    server.claim_reply.message = '> call sleep {"seconds": 600}'
    work = process.loop.submit(execute(process, "exec-1", Quiet()))  # type: ignore[arg-type]
    started = lambda: any(kind == "tool_call" and row["name"] == "sleep" for kind, row in server.stored)  # noqa: E731
    await asyncio.to_thread(eventually, started, within_s=120, what="the call has begun")
    server.push(pb.CANCEL)
    await asyncio.to_thread(work.result, 60)
    assert told(server)["phase"] == Phase.CANCELLED
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the run is left")


async def test_a_sub_agent_has_the_servers_that_it_names(server: RunnerServer, process: RunnerProcess) -> None:
    """One has the tool that was selected for it, the other has none; both have the sandbox."""
    add(server, "bare", "bare_server.py")
    spec = server.claim_reply.agent.spec
    spec.sub_agents.add(name="clerk", description="files", instructions="You file things.", mcp_servers=["bare"])
    spec.sub_agents[0].mcp_tool_selections["bare"].enabled_tools.append("echo")
    spec.sub_agents.add(name="other", description="others", instructions="You do other things.")
    lines = ["> call echo {}", "@clerk > call echo {}", "@clerk > call a_dotted_name {}", "@other > call echo {}"]
    lines.append("@other $ echo me")
    server.claim_reply.message = "\n".join(lines)
    await run(process)
    assert told(server)["phase"] == Phase.COMPLETED
    calls = [(name, row["status"]) for name, row in calls_in(server)]
    assert calls.count(("echo", "TOOL_CALL_COMPLETED")) == 2  # the agent's own, and that of the clerk
    assert calls.count(("echo", "TOOL_CALL_FAILED")) == 1
    assert ("a_dotted_name", "TOOL_CALL_FAILED") in calls
    assert ("execute", "TOOL_CALL_COMPLETED") in calls
