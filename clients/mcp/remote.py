"""A server that runs elsewhere: streamable HTTP, or SSE for servers of before 2025; OAuth by client credentials."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp.shared.message import SessionMessage

from agent_runner.clients.mcp.definition import Address
from agent_runner.clients.process.public_addresses import PublicAddresses

ALLOWING = "AGENT_RUNNER_MCP_PRIVATE_ADDRESSES=true lets agents reach those"
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class Tokens:
    """The access tokens of one run: kept as long as it lives, and written nowhere."""

    def __init__(self) -> None:
        self._tokens: OAuthToken | None = None
        self._client: OAuthClientInformationFull | None = None
        self.secrets: list[str] = []
        """All that there were: no result of the server may show them."""

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens
        self.secrets += [one for one in (tokens.access_token, tokens.refresh_token) if one]

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info


@asynccontextmanager
async def reached(at: Address, tokens: Tokens, *, connect_s: float, private: bool) -> AsyncIterator[Streams]:
    """Streams for a session. `private`: addresses of this machine and of private networks may be reached, too."""
    url = str(httpx.URL(at.url).copy_merge_params(dict(at.query)))
    auth = None
    if at.oauth is not None:
        auth = ClientCredentialsOAuthProvider(
            server_url=at.url,
            storage=tokens,
            client_id=at.oauth.client_id,
            client_secret=at.oauth.client_secret,
            issuer=at.oauth.issuer,
            scopes=at.oauth.scopes or None,
        )

    def client(headers: dict[str, str] | None = None, timeout: Any = None, auth: Any = None) -> httpx.AsyncClient:
        # How long an answer may take is the session's to say.
        limits = httpx.Timeout(connect_s, read=None)
        transport = None if private else PublicAddresses(ALLOWING)
        return httpx.AsyncClient(headers=headers, timeout=limits, auth=auth, transport=transport)

    if at.transport == "sse":
        async with sse_client(url, dict(at.headers), connect_s, httpx_client_factory=client, auth=auth) as streams:
            yield streams
        return
    async with (
        client(dict(at.headers), auth=auth) as http,
        streamable_http_client(url, http_client=http) as (read, write, _),
    ):
        yield read, write
