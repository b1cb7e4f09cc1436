"""The MCP servers that an agent names: which there are, and which of its sub-agents may use which of their tools."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent_runner.ai.stigmer.agentic.agent.v1.spec_pb2 import AgentSpec, SubAgent
from agent_runner.clients.engine.agent_definition import ToolSpec
from agent_runner.clients.mcp.definition import McpServerError, Server, server_of
from agent_runner.clients.mcp.options import ANNOTATION, ToolServerOptions, ToolServerOptionsError, options_of


class Timeouts(Protocol):
    """The part of the settings that is asked for."""

    @property
    def mcp_start_timeout_s(self) -> float: ...
    @property
    def mcp_call_timeout_s(self) -> float: ...


def servers_of(spec: AgentSpec, annotation: str, env: Mapping[str, str], settings: Timeouts) -> list[Server]:
    """Raises McpServerError for one that cannot be used as it is defined."""
    names = [one.name for one in spec.mcp_servers]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise McpServerError(twice, "two servers of the agent have this name")
    for sub in spec.sub_agents:
        for name in (*sub.mcp_servers, *sub.mcp_tool_selections):
            if name not in names:
                raise McpServerError(name, f"sub-agent '{sub.name}' names it, and the agent has no such server")
    try:
        options = options_of(annotation)
    except ToolServerOptionsError as error:
        raise McpServerError("", str(error)) from None
    if unknown := sorted(options.keys() - set(names)):
        raise McpServerError(unknown[0], f"{ANNOTATION} names it, and the agent has no such server")
    timeouts = {"start_timeout_s": settings.mcp_start_timeout_s, "call_timeout_s": settings.mcp_call_timeout_s}
    return [server_of(one, env, options.get(one.name, ToolServerOptions()), **timeouts) for one in spec.mcp_servers]


def chosen(sub: SubAgent, tools: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
    """The tools of the servers that a sub-agent names, less those that its selection leaves out."""
    selected = {name: set(one.enabled_tools) for name, one in sub.mcp_tool_selections.items() if one.enabled_tools}
    servers = {*sub.mcp_servers, *sub.mcp_tool_selections}
    return tuple(one for one in tools if one.server in servers and one.name in selected.get(one.server, {one.name}))
