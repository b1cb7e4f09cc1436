"""Which addresses webhooks may call, and a call that goes to no other one.

A name is looked up here and the call goes to the address that was found, so a name that changes its address between the
check and the call changes nothing.
"""

import asyncio
import functools
import hashlib
import hmac
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

import httpx

from agent_runner.clients.sandbox.network.allowed_hosts import is_public
from agent_runner.clients.settings.server_of_graphs import graphs_document

TIMEOUT_S = 10.0
SIGNATURE = "X-Agent-Runner-Signature"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class WebhookRefused(ValueError):
    """The text says what is wrong with the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPolicy:
    """`private`: addresses of this machine and of private networks may be called."""

    private: bool = False
    https_only: bool = False

    @classmethod
    def of(cls, graphs: Path, *, private: bool) -> "WebhookPolicy":
        """From the setting and from `webhooks.url` of langgraph.json, which turns `require_https` on by itself."""
        block = graphs_document(graphs).get("webhooks")
        if not isinstance(block, dict):
            return cls(private=private)
        given = block.get("url")
        url = given if isinstance(given, dict) else {}
        return cls(
            private=private or url.get("disable_loopback") is False,
            https_only=url.get("require_https", True) is not False,
        )

    def check(self, url: str) -> SplitResult:
        """Raises WebhookRefused."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise WebhookRefused("it is not an address") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise WebhookRefused("it must be a whole address, http:// or https://")
        if parts.username is not None or parts.password is not None:
            raise WebhookRefused("it must hold no user and no password; an execution's webhook may have headers")
        if self.https_only and parts.scheme != "https":
            raise WebhookRefused("it must begin with https:// (webhooks.url.require_https in langgraph.json)")
        try:
            literal = ipaddress.ip_address(parts.hostname)
        except ValueError:
            literal = None
        local = parts.hostname == "localhost" or parts.hostname.endswith(".localhost")
        if not self.private and (local or (literal is not None and not is_public(literal))):
            raise WebhookRefused(
                "it is an address of this machine or of a private network (AGENT_RUNNER_WEBHOOK_PRIVATE)"
            )
        return parts

    async def call(self, url: str, body: bytes, secret: str, *, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """One POST, with these headers beside our own.

        Raises WebhookRefused or httpx.HTTPError, also for an answer that is not 2xx."""
        parts = self.check(url)
        host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
        address = await self._address(host, port)
        literal = f"[{address}]" if ":" in address else address
        sent = {**headers, "Host": parts.netloc, "Content-Type": "application/json", "User-Agent": "agent-runner"}
        if secret:
            sent[SIGNATURE] = signature(secret, body, int(time.time()))
        target = parts._replace(netloc=f"{literal}:{port}", fragment="").geturl()
        client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False, verify=_authorities())
        async with client:
            request = client.build_request(
                "POST", target, content=body, headers=sent, extensions={"sni_hostname": host}
            )
            answer = await client.send(request, stream=True)
            await answer.aclose()
            if not answer.is_success:
                raise httpx.HTTPStatusError(f"it answered {answer.status_code}", request=request, response=answer)

    async def _address(self, host: str, port: int) -> str:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is too long
            raise WebhookRefused(f"its name is not known: {error}") from None
        addresses = [str(one[4][0]) for one in found]
        allowed = [one for one in addresses if self.private or is_public(ipaddress.ip_address(one.partition("%")[0]))]
        if not allowed:
            raise WebhookRefused("its name leads to this machine or to a private network")
        return allowed[0]


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Those that are trusted. To read them takes 15 ms, in which the event loop would do nothing else at each call."""
    return httpx.create_ssl_context(trust_env=False)


def signature(secret: str, body: bytes, at: int) -> str:
    """`t=<epoch seconds>,v1=<HMAC-SHA256 of "t.body", in hex>`."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
