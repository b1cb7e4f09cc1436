"""Tools for the engine, made by langchain-mcp-adapters. They hold nothing of a run, so runs share a compiled graph."""

import json
from typing import Any, cast

from langchain_core.tools import BaseTool
from langchain_mcp_adapters.tools import convert_mcp_tool_to_langchain_tool
from mcp import ClientSession
from mcp.types import CallToolResult, Tool

from agent_runner.clients.engine.agent_definition import ToolSpec
from agent_runner.clients.engine.current import current_run
from agent_runner.clients.mcp.definition import McpServerError


class _CurrentServer:
    """Stands where the adapter expects a session: finds that of the current run at each call."""

    def __init__(self, server: str) -> None:
        self._server = server

    async def call_tool(self, name: str, arguments: dict[str, Any], progress_callback: Any = None) -> CallToolResult:
        run = current_run()
        if run is None or run.tool_servers is None:
            raise McpServerError(self._server, f"MCP server '{self._server}' is not running: this is outside of a run")
        return cast("CallToolResult", await run.tool_servers.call(self._server, name, arguments))


def tool_of(spec: ToolSpec) -> BaseTool:
    schema = {"type": "object", "properties": {}, **json.loads(spec.schema_json)}
    tool = Tool(name=spec.name, description=spec.description, inputSchema=schema)
    session = cast("ClientSession", _CurrentServer(spec.server))
    made = convert_mcp_tool_to_langchain_tool(session, tool, server_name=spec.server)
    return made.model_copy(update={"name": spec.shown})
