"""The key that everybody knows, in a local stack that made its own key: only programs of the stack's own user have it.

They could read the stack's key from its file as well (mode 0600), so it opens nothing to anybody else. What was written
for `dummy-local-key` goes on working; see decision 0017.
"""

import hmac
from collections.abc import Mapping
from typing import Any

from agent_runner.clients.process.own_user import FORWARDED, is_own_user
from agent_runner.clients.settings.access_settings import DUMMY_LOCAL_KEY
from agent_runner.clients.settings.settings import Settings

_GIVEN = f"Bearer {DUMMY_LOCAL_KEY}".encode()


class KnownKey:
    """Says which key a request over HTTP is taken for."""

    def __init__(self, settings: Settings) -> None:
        self.allowed = settings.known_key_for_own_user and not settings.reached_from_elsewhere
        self._key = settings.api_key.get_secret_value()

    def taken_for(self, authorization: str | None, scope: Mapping[str, Any]) -> str | None:
        """The header's value, or in place of the known key that of the server if the caller is its own user.

        `scope` is that of ASGI: `client` and `server` are the two ends of the connection.
        """
        if not self.allowed or not hmac.compare_digest((authorization or "").encode(), _GIVEN):
            return authorization
        client, server = scope.get("client"), scope.get("server")
        forwarded = any(name.decode("latin-1") in FORWARDED for name, _ in scope["headers"])
        if client and server and not forwarded and is_own_user(tuple(client), tuple(server)):
            return f"Bearer {self._key}"
        return authorization
