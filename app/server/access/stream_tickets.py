"""Stream tickets: a browser's `EventSource` sends no headers, so it shows a ticket in the address instead of a key.

A ticket is sealed with the server's secret key and stored nowhere. It opens the event stream of one execution, for as
long as that lasts, if the stream is begun within `LASTS_S`. It reads and does nothing else. The key that asked for it
is checked again and again, as in every stream: a key that is revoked ends the streams of its tickets too.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from agent_runner.app.server.access.principal import Principal, current
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.app.server.resources.sealing import SealBroken, Sealing
from agent_runner.status.api_keys import Scope

LASTS_S = 60
PARAMETER = "ticket"
_STREAM = re.compile(r"/v1/executions/([^/]+)/events")
_PURPOSE = "event stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    text: str
    url: str
    """The path of the stream with the ticket in it."""
    expires_at: float
    """Epoch seconds: the stream must have begun."""


class StreamTickets:
    def __init__(self, sealing: Sealing, *, now: Callable[[], float] = time.time) -> None:
        self._sealing = sealing
        self._now = now

    def issue(self, execution_id: str) -> Ticket:
        """A ticket of the caller. Raises FAILED_PRECONDITION if the server has no secret key."""
        caller, until = current(), self._now() + LASTS_S
        until = min(until, caller.expires_at or until)
        said = {
            "purpose": _PURPOSE, "id": execution_id, "until": until,
            "org": caller.org, "key_id": caller.key_id, "name": caller.name, "key_until": caller.expires_at,
        }  # fmt: skip
        text = self._sealing.seal(json.dumps(said).encode()).decode()
        url = f"/v1/executions/{quote(execution_id, safe='')}/events?{urlencode({PARAMETER: text})}"
        return Ticket(text=text, url=url, expires_at=until)

    def principal(self, text: str, execution_id: str) -> Principal:
        """Who asked for the ticket, as a reader. Raises UNAUTHENTICATED."""
        said = self._read(text)
        if said.get("purpose") != _PURPOSE or said.get("id") != execution_id:
            raise _refused("the stream ticket is not for this execution")
        if self._now() >= said["until"]:
            raise _refused(f"the stream ticket has expired: a stream must begin within {LASTS_S} s of it")
        return Principal(
            name=said["name"],
            scopes=frozenset({Scope.READ}),
            org=said["org"],
            key_id=said["key_id"],
            expires_at=said["key_until"],
        )

    def _read(self, text: str) -> dict[str, Any]:
        try:
            said = json.loads(self._sealing.open(text.encode()))
        except (SealBroken, ValueError):
            raise _refused("the stream ticket is not one of this server") from None
        return said if isinstance(said, dict) else {}


def take_ticket(method: str, path: str, query: bytes) -> tuple[str, str, bytes]:
    """(the ticket, the execution of the address, the query without the ticket); without one: empty, and as it was.

    Whatever shows the address afterwards, a log line for instance, does not show the ticket.
    """
    stream = _STREAM.fullmatch(path)
    if method != "GET" or stream is None or PARAMETER.encode() not in query:
        return "", "", query
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    ticket = next((value for name, value in pairs if name == PARAMETER), "")
    return ticket, stream[1], urlencode([pair for pair in pairs if pair[0] != PARAMETER]).encode()


def _refused(detail: str) -> Problem:
    return Problem(
        Kind.UNAUTHENTICATED,
        detail,
        next_step="Ask for another one, with a key: POST /v1/executions/{id}/stream-ticket.",
    )
