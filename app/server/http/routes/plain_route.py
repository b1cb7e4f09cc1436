"""A second, short way to a handler, for the plain requests of the two calls that every run makes.

FastAPI looks for the route twice, and reads parameters by way of models. A request without a query has nothing of that
to check, so it is answered here, by the same handler. FastAPI's own route stays: it is the one that is described, and
it takes every request that is not plain, with all its errors.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.responses import Response
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Receive, Scope, Send

from agent_runner.app.server.access.gate import Gate
from agent_runner.app.server.contract.texts import MAX_INDEXED

Plain = Callable[[Request], Awaitable[Response]]
"""A handler that takes what it needs from the request's path and headers."""


class PlainRoute(BaseRoute):
    """Put it before the other routes. A request that it does not take goes on to them."""

    def __init__(self, method: str, path: str, handler: Plain, gate: Gate) -> None:
        self.path = path
        self.methods = {method}
        self._method, self._call = method, f"{method} {path}"
        self._handler, self._gate = handler, gate
        self._regex, _, _ = compile_path(path)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != self._method or scope["query_string"]:
            return Match.NONE, {}
        found = self._regex.match(scope["path"])
        if found is None or scope.get("root_path") or any(len(value) > MAX_INDEXED for _, value in scope["headers"]):
            return Match.NONE, {}
        return Match.FULL, {"path_params": found.groupdict(), "route": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate.admit(self._call)
        response = await self._handler(Request(scope, receive, send))
        await response(scope, receive, send)
