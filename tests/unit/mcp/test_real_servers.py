"""Servers that others have written, in the sandbox; skipped where no registry answers and none is installed."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent_runner.clients.sandbox.walls import Walls
from tests.support.waiting import eventually
from tests.unit.mcp.real_servers import FOLDER, npm_server, pypi_server
from tests.unit.mcp.world import box, pictures_of, processes_in, running, stdio, text_of


@pytest.fixture
def walls(walls: Walls | None) -> Walls | None:
    """With the servers' folder readable, as AGENT_RUNNER_SANDBOX_READ_ONLY makes it."""
    return replace(walls, read_only=(FOLDER,)) if walls else None


async def test_server_everything(tmp_path: Path, walls: Walls | None) -> None:
    """The protocol's own example: texts, pictures, resources, links, structured content, errors, slow calls."""
    script = await asyncio.to_thread(npm_server, "server-everything")
    async with running(box(tmp_path, walls), stdio("all", "node", script, env={"GIVEN": "yes"})) as (servers, _):
        assert text_of(await servers.call("all", "echo", {"message": "hi"})) == "Echo: hi"
        assert len(pictures_of(await servers.call("all", "get-tiny-image", {}))) == 1
        linked = text_of(await servers.call("all", "get-resource-links", {"count": 2}))
        assert linked.count("[resource: demo://") == 2
        embedded = {"resourceType": "Text", "resourceId": 1}
        assert "[resource: demo://" in text_of(await servers.call("all", "get-resource-reference", embedded))
        blob = {"resourceType": "Blob", "resourceId": 1}
        assert "it is in /.agent-runner/mcp-" in text_of(await servers.call("all", "get-resource-reference", blob))
        weather = json.loads(text_of(await servers.call("all", "get-structured-content", {"location": "Chicago"})))
        assert {"temperature", "humidity"} <= weather.keys()
        assert (await servers.call("all", "get-structured-content", {"location": "Nowhere"})).isError
        slow = {"duration": 1, "steps": 2}
        assert "completed" in text_of(await servers.call("all", "trigger-long-running-operation", slow))
        seen = json.loads(text_of(await servers.call("all", "get-env", {})))
        assert seen["GIVEN"] == "yes"
        assert not {name for name in seen if name.startswith(("AGENT_RUNNER", "STIGMER", "PYTEST"))}
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the run is left")


async def test_server_filesystem(tmp_path: Path, walls: Walls | None) -> None:
    """It works on the files of the session; those of its tools that the agent has itself have its name in front."""
    script = await asyncio.to_thread(npm_server, "server-filesystem")
    sandbox = box(tmp_path, walls)
    async with running(sandbox, stdio("files", "node", script, ".")) as (servers, tools):
        assert {"files_write_file", "read_text_file"} <= {one.shown for one in tools}
        written = await servers.call("files", "write_file", {"path": "a.txt", "content": "hello"})
        assert text_of(written) == "Successfully wrote to a.txt"
        assert (sandbox.work_dir / "a.txt").read_text() == "hello"
        assert (await servers.call("files", "read_text_file", {"path": "/etc/passwd"})).isError


async def test_mcp_server_time(tmp_path: Path, walls: Walls | None) -> None:
    """A Python server that was made with version 2 of the `mcp` package."""
    program = await asyncio.to_thread(pypi_server, "mcp-server-time")
    async with running(box(tmp_path, walls), stdio("time", program)) as (servers, _):
        told = json.loads(text_of(await servers.call("time", "get_current_time", {"timezone": "UTC"})))
        assert told["timezone"] == "UTC"
        assert (await servers.call("time", "get_current_time", {"timezone": "Nowhere"})).isError


async def test_mcp_server_git(tmp_path: Path, walls: Walls | None) -> None:
    """It makes a commit in the session's directory."""
    program = await asyncio.to_thread(pypi_server, "mcp-server-git")
    sandbox = box(tmp_path, walls)
    made = await sandbox.execute("git init -q . && git config user.email a@b.c && git config user.name A && echo 1 > f")
    assert made.exit_code == 0, made.output
    async with running(sandbox, stdio("git", program)) as (servers, _):
        here = str(sandbox.work_dir)
        assert not (await servers.call("git", "git_add", {"repo_path": here, "files": ["f"]})).isError
        assert not (await servers.call("git", "git_commit", {"repo_path": here, "message": "the first"})).isError
        assert "the first" in text_of(await servers.call("git", "git_log", {"repo_path": here}))
