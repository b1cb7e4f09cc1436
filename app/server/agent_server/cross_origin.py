"""Calls by web pages of other origins (CORS): they may read the headers that name a run, and preflights need no key.

Cookies are never used, so a page needs a key. A key that is written in our documents is no secret: with it only pages
of this machine, and of the origins in AGENT_RUNNER_CORS_ORIGINS, may call. With any other key every page may, unless
`http.cors` of langgraph.json says which.
"""

from collections.abc import Iterable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_runner.app.server.agent_server.edge_paths import is_edge
from agent_runner.app.server.front_ends.front_paths import is_front_end
from agent_runner.clients.settings.server_of_graphs import ServerOfGraphs

LOOPBACK = r"https?://(localhost|[a-z0-9-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?"
SHOWN_HEADERS = (
    *("X-Pagination-Total", "X-Pagination-Next", "Content-Location", "Location", "Retry-After", "WWW-Authenticate"),
)


class CrossOrigin:
    """Around the whole application. Only the addresses of this edge and of front ends are answered here."""

    def __init__(self, app: ASGIApp, *, origins: Iterable[str], known_key: bool, asked: ServerOfGraphs) -> None:
        self._app = app
        allowed, pattern = ([*origins], LOOPBACK) if known_key else (["*"], None)
        if asked.origins is not None:
            allowed, pattern = [*origins, *asked.origins], asked.origin_regex
        self._edge = CORSMiddleware(
            app,
            allow_origins=allowed,
            allow_origin_regex=pattern,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=[*SHOWN_HEADERS, *asked.shown_headers],
            max_age=asked.max_age_s,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        edge = scope["type"] == "http" and (is_edge(scope["path"]) or is_front_end(scope["path"]))
        await (self._edge if edge else self._app)(scope, receive, send)
