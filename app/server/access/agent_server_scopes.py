"""The scope that each call of the Agent Server API needs. What it does is what the same call under /v1 needs."""

from collections.abc import Mapping

from agent_runner.status.api_keys import Scope

OPEN = ("GET /ok", "GET /info")
"""Calls that need no key."""
AGENT_SERVER_SCOPES: Mapping[str, Scope] = {
    "GET /assistants/{assistant_id}": Scope.READ,
    "POST /threads": Scope.EXECUTE,
    "GET /threads/{thread_id}": Scope.READ,
}
