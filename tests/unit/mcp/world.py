"""What the tests of MCP run on: real servers in real sandboxes."""

import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from mcp.types import CallToolResult, ImageContent, TextContent

from agent_runner.clients.engine.agent_definition import ToolSpec
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.mcp.definition import Address, Program, Server
from agent_runner.clients.mcp.servers import McpServers
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.clients.sandbox.walls import Walls

HERE = Path(__file__).parent
START_S = 120.0
"""Of a Python with the `mcp` package, on a machine full of work."""


def stdio(name: str, *argv: str, env: Mapping[str, str] | None = None, **given: Any) -> Server:
    """`argv`: a file of this folder and its arguments, or a whole command line."""
    line = (sys.executable, *argv) if argv[0].endswith(".py") else argv
    return _server(name, Program(argv=line, env=dict(env or {})), given)


def http(name: str, url: str, transport: str = "streamable_http", **given: Any) -> Server:
    at = Address(
        url=url, headers=given.pop("headers", {}), query={}, transport=transport, oauth=given.pop("oauth", None)
    )
    return _server(name, at, given)


def _server(name: str, at: Program | Address, given: dict[str, Any]) -> Server:
    limits: dict[str, Any] = {"start_timeout_s": START_S, "call_timeout_s": START_S, "enabled": ()} | given
    return Server(name=name, at=at, **limits)


def box(folder: Path, walls: Walls | None = None, mask: Mask | None = None, **env: str) -> LocalSandbox:
    """A sandbox with the servers of this folder in its working directory."""
    opened = LocalSandbox(folder / f"box-{uuid.uuid4().hex[:8]}", None, env, mask, walls=walls).open()
    for name in ("result_server.py", "bare_server.py"):
        shutil.copy(HERE / name, opened.work_dir)
    return opened


@asynccontextmanager
async def running(
    sandbox: LocalSandbox | None,
    *servers: Server,
    mask: Mask | None = None,
    max_bytes: int = 1 << 18,
    private: bool = True,
) -> AsyncIterator[tuple[McpServers, tuple[ToolSpec, ...]]]:
    """The servers, and their tools. Afterwards both are closed."""
    started = McpServers(servers, sandbox, mask or Mask(), max_bytes=max_bytes, private=private)
    try:
        yield started, await started.start()
    finally:
        await started.close()
        if sandbox is not None:
            await sandbox.close()


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def pictures_of(result: CallToolResult) -> list[ImageContent]:
    return [block for block in result.content if isinstance(block, ImageContent)]


def processes_in(folder: Path) -> list[str]:
    """The command lines of the processes that work below this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            if str(folder) in process.cwd() or any(str(folder) in part for part in line):
                found.append(" ".join(line)[:200])
        except (psutil.Error, OSError):
            continue
    return found
