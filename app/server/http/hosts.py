"""Which names this server answers for.

A web page anywhere can make its own name point at an address here (DNS rebinding); the browser then takes us for that
page's server. The `Host` header still holds the page's name, so a name that is not ours is refused before all else.
"""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_runner.app.server.http.answers import problem_answer
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.clients.settings.access_settings import EVERY_HOST, is_loopback

_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/@\[\]]+)(:\d+)?")


class KnownHosts:
    """`hosts` as `Settings.hosts`; the names of this machine itself are always allowed."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._allows(Headers(scope=scope).getlist("host")):
            await self._app(scope, receive, send)
            return
        refusal = Problem(
            Kind.INVALID_ARGUMENT,
            "the Host header names a host that this server does not answer for",
            next_step="Call it by a name of AGENT_RUNNER_ALLOWED_HOSTS, or add the name there.",
        )
        await problem_answer(refusal)(scope, receive, send)

    def _allows(self, given: list[str]) -> bool:
        if EVERY_HOST in self._hosts:
            return True
        if len(given) != 1 or not (matched := _HOST.fullmatch(given[0])):
            return False
        name = matched.group(1).lower().rstrip(".")
        return is_loopback(name) or name in self._hosts or any(_below(name, host) for host in self._hosts)


def _below(name: str, host: str) -> bool:
    return host.startswith("*.") and name.endswith(host[1:])
