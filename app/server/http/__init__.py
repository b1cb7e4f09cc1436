"""The HTTP API: JSON, SSE, problem+json, the live page, health and metrics."""

from agent_runner.app.server.http.factory import build_http_app

__all__ = ["build_http_app"]
