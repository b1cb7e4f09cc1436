"""Settings for what others are told of executions: traces, which are off by default, and Celery's results."""

from typing import Literal

from pydantic import SecretStr

from agent_runner.clients.settings.environment import setting
from agent_runner.clients.settings.price_settings import OrderSettings


class TraceSettings(OrderSettings):
    otlp_endpoint: str = setting(
        "AGENT_RUNNER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        default="",
        about="where OpenTelemetry traces are sent, by OTLP over HTTP: http://HOST:4318",
        shown="none: no traces",
        pattern=r"^(https?://.+)?$",
    )
    otlp_headers: SecretStr = setting(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        default=SecretStr(""),
        about="sent with the traces: NAME=VALUE, with commas between",
    )
    trace_content: bool = setting(
        "AGENT_RUNNER_TRACE_CONTENT",
        default=False,
        about="true: spans hold messages, arguments and results too, masked",
    )
    celery_result: Literal["status", "success"] = setting(
        "AGENT_RUNNER_CELERY_RESULT",
        default="status",
        about="how Celery and Flower see an execution that did not complete: status (FAILURE, REVOKED) or success",
    )
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
