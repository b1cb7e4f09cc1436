"""HTTP to addresses of the internet only: never to this machine, a private network, or what a cloud serves inside.

The address that was looked at is the one that is connected to, so a name cannot lead elsewhere in between. Redirects
pass here, too.
"""

import asyncio
import ipaddress
import socket

import httpx

from agent_runner.clients.sandbox.network.allowed_hosts import is_public

PORTS = {"http": 80, "https": 443}


class NotPublic(httpx.UnsupportedProtocol):
    """Not a failure of the network: another try would not help."""


class PublicAddresses(httpx.AsyncBaseTransport):
    """`allowing` names what lifts the rule, for the error's text."""

    def __init__(self, allowing: str) -> None:
        self._allowing = allowing
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        address = await self._address(host, request.url.port or PORTS.get(request.url.scheme, 443))
        request.url = request.url.copy_with(host=address)  # the Host header stays
        request.extensions = {**request.extensions, "sni_hostname": host}
        return await self._inner.handle_async_request(request)

    async def _address(self, host: str, port: int) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is too long
            raise httpx.ConnectError(f"{host} cannot be found: {error}") from error
        addresses = [str(one[4][0]) for one in found]
        public = [one for one in addresses if is_public(ipaddress.ip_address(one.partition("%")[0]))]
        if not public:
            raise NotPublic(f"{host} leads to an address of this machine or of a private network ({self._allowing})")
        return public[0]

    async def aclose(self) -> None:
        await self._inner.aclose()
