"""Reads from the HTTP response below a model's client what the client itself does not show.

A client that reads a stream skips everything that is no event. An error that comes with status 200 as one piece of
JSON, or the login page of a network, looks to it like a stream that ended before it began.
"""

import json
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from agent_runner.clients.models.errors import ProviderError

_LONGEST_BODY = 1024 * 1024


@dataclass(slots=True)
class Opened:
    """One request. `answered`: an answer with status 200 began. `error`: that answer does not come from the model."""

    answered: bool = False
    error: ProviderError | None = None


_asked: ContextVar[Opened | None] = ContextVar("asked", default=None)


def asking() -> Opened:
    """A record that the next request of this context on a watched client fills in."""
    asked = Opened()
    _asked.set(asked)
    return asked


def watch(client: Any) -> None:
    """`client`: an async client of httpx, also one that others use. Requests without `asking` are not recorded."""
    hooks = client.event_hooks
    if _seen not in hooks["response"]:
        client.event_hooks = {**hooks, "response": [*hooks["response"], _seen]}


async def _seen(response: Any) -> None:
    asked = _asked.get()
    if asked is None or response.status_code != 200:
        return
    asked.answered = True
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/html"):
        return
    text = (await response.aread())[:_LONGEST_BODY].decode(errors="replace")
    asked.error = _error_in(kind, text)


def _error_in(kind: str, text: str) -> ProviderError | None:
    if kind == "text/html":
        return ProviderError(text)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(body, dict) and (body.get("error") or body.get("object") == "error"):
        return ProviderError(body)
    return None
