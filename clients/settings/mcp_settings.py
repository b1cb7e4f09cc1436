"""Settings for the MCP servers of agents."""

from agent_runner.clients.settings.environment import setting
from agent_runner.clients.settings.sandbox_settings import SandboxSettings


class McpSettings(SandboxSettings):
    mcp_start_timeout_s: float = setting(
        "AGENT_RUNNER_MCP_START_TIMEOUT_S",
        default=30.0,
        gt=0,
        le=3600,
        about="within which an agent's MCP server must have told its tools",
    )
    mcp_call_timeout_s: float = setting(
        "AGENT_RUNNER_MCP_CALL_TIMEOUT_S",
        default=120.0,
        gt=0,
        le=3600,
        about="after which a call of an MCP server's tool fails",
    )
    mcp_private_addresses: bool | None = setting(
        "AGENT_RUNNER_MCP_PRIVATE_ADDRESSES",
        default=None,
        about="true: MCP servers at addresses of this machine and of private networks may be named, too",
        shown="as MODE=local",
    )
