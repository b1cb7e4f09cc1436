"""The gate of HTTP and gRPC: finds the caller of a call, checks the scope of its key and the rate limit."""

import math
from collections.abc import Awaitable, Callable
from typing import Self

from agent_runner.app.server.access.api_keys import Keys
from agent_runner.app.server.access.open_calls import Crowd
from agent_runner.app.server.access.principal import Principal, current, enter
from agent_runner.app.server.access.rate_limit import RateLimit
from agent_runner.app.server.access.scopes import granted, needed
from agent_runner.app.server.access.stream_tickets import StreamTickets
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.app.server.resources.sealing import Sealing
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.api_keys import Scope
from agent_runner.status.event_logger import bind

Answerer = Callable[[str], Awaitable[Principal]]
"""Who shows the token of a question. Raises UNAUTHENTICATED."""


class Gate:
    """One object per process, so that a key has one bucket for HTTP and gRPC."""

    def __init__(
        self,
        keys: Keys,
        rate_limit: RateLimit,
        tickets: StreamTickets,
        answerer: Answerer,
        *,
        streams: Crowd,
        calls: Crowd,
    ) -> None:
        self.keys = keys
        self.tickets = tickets
        self.streams = streams
        """Long calls, over HTTP and gRPC together: event streams, watchers, answers that wait for an end."""
        self.calls = calls
        """Other calls over gRPC."""
        self._rate_limit = rate_limit
        self._answerer = answerer

    @classmethod
    def of(cls, settings: Settings, keys: Keys, sealing: Sealing, answerer: Answerer) -> Self:
        return cls(
            keys,
            RateLimit(settings.rate_limit_per_s),
            StreamTickets(sealing),
            answerer,
            streams=Crowd(settings.max_streams_per_key, "streams open", "AGENT_RUNNER_MAX_STREAMS_PER_KEY"),
            calls=Crowd(settings.max_calls_per_key, "calls under way", "AGENT_RUNNER_MAX_CALLS_PER_KEY"),
        )

    async def enter(self, authorization: str | None) -> None:
        """Finds the key's principal. The rest of this task acts for it. Raises UNAUTHENTICATED."""
        principal = await self.keys.principal(authorization)
        enter(principal)
        bind(org=principal.org, key_id=principal.key_id)

    def enter_by_ticket(self, ticket: str, execution_id: str) -> None:
        """The rest of this task reads for the principal that the stream ticket was given to. Raises UNAUTHENTICATED."""
        principal = self.tickets.principal(ticket, execution_id)
        enter(principal)
        bind(org=principal.org, key_id=principal.key_id)

    async def enter_by_answer_token(self, token: str) -> None:
        """The rest of this task answers the question of the token, and does nothing else. Raises UNAUTHENTICATED."""
        principal = await self._answerer(token)
        enter(principal)
        bind(org=principal.org)

    def admit(self, call: str) -> None:
        """Checks the scope and the rate. `call`: its name in the table of scopes.

        Raises PERMISSION_DENIED, or RESOURCE_EXHAUSTED with the time to wait.
        """
        principal = current()
        if not granted(principal.scopes, call):
            scope = needed(call).value
            has = ", ".join(sorted(s.value for s in principal.scopes))
            raise Problem(
                Kind.PERMISSION_DENIED,
                f"this call needs the scope '{scope}'; the key '{principal.name}' has: {has}",
                next_step=f"Use a key that has it: agent-runner keys create --name NAME --scope {scope}.",
            )
        # Runners have no rate limit: the end of an execution depends on their writes and heartbeats.
        if needed(call) is not Scope.RUNNER and (wait_s := self._rate_limit.take(principal.key_id)):
            raise Problem(
                Kind.TOO_FAST,
                f"the key '{principal.name}' makes more calls than AGENT_RUNNER_RATE_LIMIT_PER_S allows",
                next_step=f"Wait {math.ceil(wait_s)} s and try again.",
                retry_after_s=math.ceil(wait_s),
            )
