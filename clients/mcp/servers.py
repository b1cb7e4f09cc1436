"""The MCP servers of one run: all started at once before the agent's first step, and gone when the run ends."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

from mcp.types import CallToolResult, Tool

from agent_runner.clients.engine.agent_definition import ToolSpec
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.mcp.definition import McpServerError, Server
from agent_runner.clients.mcp.names import shown_names
from agent_runner.clients.mcp.results import readable
from agent_runner.clients.mcp.session import ServerSession
from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox.kinds.port import OUTPUTS, Sandbox
from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)


class McpServers:
    """`private`: servers at addresses of this machine and of private networks may be reached."""

    def __init__(
        self, servers: Sequence[Server], sandbox: Sandbox | None, mask: Mask, *, max_bytes: int, private: bool
    ) -> None:
        self._sandbox, self._mask, self._max_bytes = sandbox, mask, max_bytes
        self._sessions = {one.name: ServerSession(one, sandbox, private=private) for one in servers}

    async def start(self) -> tuple[ToolSpec, ...]:
        """The tools that the agent may use, in the order of its servers. Raises McpServerError."""
        sessions = list(self._sessions.values())
        answers = await asyncio.gather(*(one.start() for one in sessions), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        found: list[tuple[str, Tool]] = []
        for session, tools in zip(sessions, answers, strict=True):
            assert not isinstance(tools, BaseException)
            allowed = _allowed(session.server, tools)
            log.info("mcp.ready", server=session.server.name, tools=len(allowed))
            found += [(session.server.name, tool) for tool in allowed]
        names = shown_names([(server, tool.name) for server, tool in found])
        return tuple(
            ToolSpec(
                server=server,
                name=tool.name,
                shown=shown,
                description=tool.description or tool.title or tool.name,
                schema_json=json.dumps(tool.inputSchema, sort_keys=True),
            )
            for (server, tool), shown in zip(found, names, strict=True)
        )

    async def call(self, server: str, tool: str, args: dict[str, Any]) -> CallToolResult:
        """What it returned, readable and masked; an error as a result, too."""
        session = self._sessions[server]
        result = await session.call(tool, args)
        mask = Mask([*session.tokens.secrets]) if session.tokens.secrets else Mask()
        told = await readable(result, _Both(self._mask, mask), max_bytes=self._max_bytes, keep=self._keep)
        if told.isError:
            log.info("mcp.call_failed", server=server, tool=tool)
        return told

    async def close(self) -> None:
        """Idempotent; takes a limited time."""
        await asyncio.gather(*(one.close() for one in self._sessions.values()), return_exceptions=True)

    async def _keep(self, data: bytes, suffix: str) -> str:
        if self._sandbox is None:
            return ""
        path = f"/{OUTPUTS}/mcp-{uuid.uuid4().hex[:12]}{suffix}"
        (kept,) = await own(self._sandbox.files.upload_files, [(path, data)])
        return "" if kept.error else path


class _Both(Mask):
    """One mask after the other."""

    def __init__(self, *masks: Mask) -> None:
        super().__init__()
        self._masks = masks

    def __call__(self, text: str) -> str:
        for mask in self._masks:
            text = mask(text)
        return text

    def of_bytes(self, data: bytes) -> bytes:
        for mask in self._masks:
            data = mask.of_bytes(data)
        return data


def _allowed(server: Server, tools: list[Tool]) -> list[Tool]:
    if not server.enabled:
        return tools
    there = {tool.name for tool in tools}
    if missing := [name for name in server.enabled if name not in there]:
        has = ", ".join(sorted(there)) or "none"
        text = f"enabled_tools names {', '.join(missing)}, which it does not have; it has {has}"
        raise McpServerError(server.name, text)
    return [tool for tool in tools if tool.name in server.enabled]
