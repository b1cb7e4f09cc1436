"""The HTTP API: JSON, SSE, problem+json, the live page, health and metrics."""
