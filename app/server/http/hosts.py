"""The host names that this server answers for.

Any web page can make its own name point to an address of this server (DNS rebinding). The browser then takes this
server for the page's server. The `Host` header still has the page's name. So a foreign name is refused first of all.
"""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_runner.app.server.agent_server.refusals import refusal
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.clients.settings.access_settings import EVERY_HOST, is_loopback

_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/@\[\]]+)(:\d+)?")


class KnownHosts:
    """`hosts` as in `Settings.hosts`. The loopback names are always allowed."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._allows(Headers(scope=scope).getlist("host")):
            await self._app(scope, receive, send)
            return
        foreign = Problem(
            Kind.INVALID_ARGUMENT,
            "the Host header names a host that this server does not answer for",
            next_step="Call it by a name of AGENT_RUNNER_ALLOWED_HOSTS, or add the name there.",
        )
        await refusal(scope["path"], foreign)(scope, receive, send)

    def _allows(self, given: list[str]) -> bool:
        if EVERY_HOST in self._hosts:
            return True
        if len(given) != 1 or not (matched := _HOST.fullmatch(given[0])):
            return False
        name = matched.group(1).lower().rstrip(".")
        return is_loopback(name) or name in self._hosts or any(_below(name, host) for host in self._hosts)


def _below(name: str, host: str) -> bool:
    return host.startswith("*.") and name.endswith(host[1:])
