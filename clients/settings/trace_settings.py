"""Settings for traces that are sent to other services. All are off by default."""

from pydantic import SecretStr

from agent_runner.clients.settings.environment import setting
from agent_runner.clients.settings.mcp_settings import McpSettings


class TraceSettings(McpSettings):
    langsmith_tracing: bool = setting(
        *("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGCHAIN_TRACING"),
        default=False,
        about="true: workers send masked traces of all runs to LangSmith",
    )
    langsmith_api_key: SecretStr = setting(
        "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", default=SecretStr(""), about="the key for LangSmith"
    )
    langsmith_endpoint: str = setting(
        "LANGSMITH_ENDPOINT",
        "LANGCHAIN_ENDPOINT",
        default="https://api.smith.langchain.com",
        about="where LangSmith is",
        pattern=r"^https?://",
    )
    langsmith_project: str = setting(
        "LANGSMITH_PROJECT", "LANGCHAIN_PROJECT", default="default", about="LangSmith's project for the traces"
    )
