"""What an agent says about its MCP servers beyond the published contract: the annotation `agent-runner/mcp`, as JSON.

    {"SERVER": {"transport": "sse", "start_timeout_s": 60, "call_timeout_s": 300,
                "oauth": {"client_id": "${ID}", "client_secret": "${SECRET}", "issuer": "https://...", "scopes": "a"}}}

Every field may be left out. Values of `oauth` name variables of the run's environment, so that no secret is here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANNOTATION = "agent-runner/mcp"
TRANSPORTS = ("streamable_http", "sse")
MAX_TIMEOUT_S = 3600
_FIELDS = ("transport", "start_timeout_s", "call_timeout_s", "oauth")
_OAUTH = ("client_id", "client_secret", "issuer", "scopes")


class ToolServerOptionsError(ValueError):
    """The text names the field and what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """Client credentials; `issuer` is the one authorization server that they are sent to."""

    client_id: str
    client_secret: str
    issuer: str
    scopes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolServerOptions:
    """Of one server. A timeout of None is the setting's."""

    transport: str = TRANSPORTS[0]
    start_timeout_s: float | None = None
    call_timeout_s: float | None = None
    oauth: OAuthClient | None = None


def options_of(annotation: str) -> dict[str, ToolServerOptions]:
    """By server; empty for an empty annotation. Raises ToolServerOptionsError."""
    if not annotation:
        return {}
    try:
        given = json.loads(annotation)
    except (ValueError, RecursionError) as error:
        raise ToolServerOptionsError(f"{ANNOTATION} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ToolServerOptionsError(f"{ANNOTATION} must be an object with one field per MCP server")
    return {name: _options(one, f"{ANNOTATION}.{name}") for name, one in given.items()}


def _options(given: Any, where: str) -> ToolServerOptions:
    given = _object(given, where, _FIELDS)
    transport = given.get("transport", TRANSPORTS[0])
    if transport not in TRANSPORTS:
        raise ToolServerOptionsError(f"{where}.transport must be one of {', '.join(TRANSPORTS)}")
    return ToolServerOptions(
        transport=transport,
        start_timeout_s=_seconds(given, "start_timeout_s", where),
        call_timeout_s=_seconds(given, "call_timeout_s", where),
        oauth=_oauth(given["oauth"], f"{where}.oauth") if "oauth" in given else None,
    )


def _oauth(given: Any, where: str) -> OAuthClient:
    given = _object(given, where, _OAUTH)
    for name in _OAUTH:
        value = given.get(name, "")
        if not isinstance(value, str) or (name != "scopes" and not value):
            raise ToolServerOptionsError(f"{where}.{name} must be a text")
    if "${" not in given["client_secret"]:
        raise ToolServerOptionsError(f"{where}.client_secret must name a variable, like ${{SECRET}}: this is no secret")
    return OAuthClient(**given)


def _object(given: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise ToolServerOptionsError(f"{where} must be an object with {', '.join(known)}")
    if unknown := sorted(map(str, given.keys() - set(known))):
        raise ToolServerOptionsError(f"{where}: unknown fields {', '.join(unknown)}; it knows {', '.join(known)}")
    return given


def _seconds(given: Mapping[str, Any], name: str, where: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_TIMEOUT_S:
        raise ToolServerOptionsError(f"{where}.{name} must be a number of seconds up to {MAX_TIMEOUT_S}")
    return float(value)
