"""Settings of the server's two ports and of their callers: addresses, TLS, limits of HTTP."""

import os
import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr, field_validator

from agent_runner.clients.settings.environment import NamedSettings, setting
from agent_runner.status.requests.webhooks import EVENTS, events_of


class EdgeSettings(NamedSettings):
    bind: str = setting(
        "AGENT_RUNNER_BIND", default="127.0.0.1", about="the address that the server listens on; 0.0.0.0 for all"
    )
    webhook_secret: SecretStr = setting(
        "AGENT_RUNNER_WEBHOOK_SECRET",
        default=SecretStr(""),
        about="signs the calls of webhooks (X-Agent-Runner-Signature); without it they are not signed",
    )
    webhook_url: SecretStr = setting(
        "AGENT_RUNNER_WEBHOOK_URL",
        default=SecretStr(""),
        about="called for each execution that names no webhook of its own; it may lead to a private network",
    )
    webhook_events: str = setting(
        "AGENT_RUNNER_WEBHOOK_EVENTS",
        default=",".join(EVENTS),
        about=f"when it is called: some of {', '.join(EVENTS)}",
    )
    webhook_answer_tokens: bool = setting(
        "AGENT_RUNNER_WEBHOOK_ANSWER_TOKENS",
        default=False,
        about="its calls about questions bring tokens that answer them without a key",
    )
    webhook_private: bool = setting(
        "AGENT_RUNNER_WEBHOOK_PRIVATE",
        default=False,
        about="webhooks may lead to this machine and to private networks",
    )
    answer_token_s: float = setting(
        "AGENT_RUNNER_ANSWER_TOKEN_S",
        default=86_400.0,
        ge=1,
        le=30 * 86_400,
        about="so long a token that answers a question without a key is good, at most",
    )
    http_port: int = setting("AGENT_RUNNER_HTTP_PORT", default=8080, ge=0, le=65535, about="the server's HTTP port")
    grpc_port: int = setting("AGENT_RUNNER_GRPC_PORT", default=50051, ge=0, le=65535, about="the server's gRPC port")
    tls_cert: Path | None = setting(
        "AGENT_RUNNER_TLS_CERT", about="PEM file with the server's certificate chain: TLS on both ports", shown="none"
    )
    tls_key: Path | None = setting("AGENT_RUNNER_TLS_KEY", about="PEM file with its private key", shown="none")
    tls_ca: Path | None = setting(
        "AGENT_RUNNER_TLS_CA",
        about="PEM file with the authority that clients trust; with it they use TLS for gRPC",
        shown="none: the system's",
    )
    http_url: str = setting(
        "AGENT_RUNNER_HTTP_URL",
        derived=lambda data: f"{'https' if _has_tls(data) else 'http'}://127.0.0.1:{data['http_port']}",
        shown="http://127.0.0.1:HTTP_PORT",
        about="where clients and supervisors reach the server",
    )
    backend_endpoint: str = setting(
        "STIGMER_BACKEND_ENDPOINT",
        derived=lambda data: f"{'grpcs://' if _has_tls(data) else ''}localhost:{data['grpc_port']}",
        shown="localhost:50051",
        about="the gRPC server that workers report to, TLS with grpcs:// or :443; required outside MODE=local",
    )
    cors_origins: str = setting(
        "AGENT_RUNNER_CORS_ORIGINS",
        default="",
        about="web pages of these origins may call the HTTP API: a list with commas, or *",
        shown="none",
    )
    rate_limit_per_s: float = setting(
        "AGENT_RUNNER_RATE_LIMIT_PER_S",
        default=0.0,
        ge=0,
        about="calls per second and key at one server; more get 429; 0: any",
    )
    metrics_open: bool = setting(
        "AGENT_RUNNER_METRICS_OPEN",
        default=True,
        shown="true",
        about="/metrics without a key; false: it needs a key that may read",
    )
    max_http_connections: int = setting(
        "AGENT_RUNNER_MAX_HTTP_CONNECTIONS", default=4000, ge=1, about="at one server; more are told so and closed"
    )
    max_head_bytes: int = setting(
        "AGENT_RUNNER_MAX_HEAD_BYTES", default=64 << 10, ge=1024, about="a larger head of an HTTP request gets 431"
    )
    http_head_s: float = setting(
        "AGENT_RUNNER_HTTP_HEAD_S", default=10.0, gt=0, about="so long the head of an HTTP request may take; later 408"
    )
    http_body_s: float = setting(
        "AGENT_RUNNER_HTTP_BODY_S", default=120.0, gt=0, about="so long its body may take; later 408"
    )
    max_streams_per_key: int = setting(
        "AGENT_RUNNER_MAX_STREAMS_PER_KEY",
        default=2000,
        ge=1,
        about="event streams, watchers and waiting answers of one key at one server; more get 429",
    )
    max_calls_per_key: int = setting(
        "AGENT_RUNNER_MAX_CALLS_PER_KEY",
        default=1000,
        ge=1,
        about="other gRPC calls of one key under way at one server; more get RESOURCE_EXHAUSTED",
    )
    max_grpc_calls: int = setting(
        "AGENT_RUNNER_MAX_GRPC_CALLS", default=8000, ge=1, about="gRPC calls and streams of all keys at one server"
    )
    health_fresh_s: float = setting(
        "AGENT_RUNNER_HEALTH_FRESH_S",
        default=1.0,
        ge=0,
        le=60,
        about="so old an answer of /readyz and /metrics may be, however many ask",
    )
    worker_metrics_port: int = setting(
        "AGENT_RUNNER_WORKER_METRICS_PORT",
        default=0,
        ge=0,
        lt=1 << 16,
        about="metrics of a worker, on AGENT_RUNNER_BIND; each further process takes the next free port; 0: none",
    )
    max_request_bytes: int = setting(
        "AGENT_RUNNER_MAX_REQUEST_BYTES", default=64 << 20, ge=1, about="a larger HTTP request gets 413"
    )

    @field_validator("tls_cert", "tls_key", "tls_ca", mode="after")
    @classmethod
    def _absolute_file(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(os.path.abspath(value.expanduser()))

    @field_validator("http_url", mode="after")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("backend_endpoint", mode="after")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if not re.fullmatch(r"((grpc|http)s?://)?[^\s/]+:\d{1,5}", value):
            raise ValueError("must be host:port, with grpcs:// in front for TLS")
        return value

    @field_validator("webhook_url", mode="after")
    @classmethod
    def _webhook_address(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not re.fullmatch(r"https?://[^\s/@]+(/[!-~]*)?", value.get_secret_value()):
            raise ValueError("must be a whole address, http:// or https://, without user and password")
        return value

    @field_validator("webhook_events", mode="after")
    @classmethod
    def _known_events(cls, value: str) -> str:
        events_of(_split(value), "events")
        return value

    @property
    def events_of_webhook(self) -> tuple[str, ...]:
        return events_of(_split(self.webhook_events), "events")

    @field_validator("cors_origins", mode="after")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in _split(value):
            if origin != "*" and not re.fullmatch(r"https?://[^\s/,]+", origin):
                raise ValueError(f"must be origins like https://example.com, not {origin!r}")
        return value

    @property
    def allowed_origins(self) -> list[str]:
        return _split(self.cors_origins)

    def tls_problems(self, *, serves: bool) -> list[tuple[frozenset[str], str]]:
        """As `Settings.problems`. `serves`: this process needs the certificate and its key."""
        found = []
        if (self.tls_cert is None) != (self.tls_key is None):
            text = "AGENT_RUNNER_TLS_CERT and AGENT_RUNNER_TLS_KEY must be set together"
            found.append((frozenset({"tls_cert", "tls_key"}), text))
        for field in ("tls_cert", "tls_key", "tls_ca") if serves else ("tls_ca",):
            path: Path | None = getattr(self, field)
            if path is not None and not os.access(path, os.R_OK):
                found.append(
                    (frozenset({field}), f"AGENT_RUNNER_{field.upper()} must be a file that can be read: {path}")
                )
        return found


def _has_tls(data: dict[str, Any]) -> bool:
    return data.get("tls_cert") is not None or data.get("tls_ca") is not None


def _split(text: str) -> list[str]:
    return [part.strip().rstrip("/") for part in text.split(",") if part.strip()]
