"""Middleware around the routes: the largest request, the web pages that may call, compressed answers."""

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_runner.app.server.http.answers import DRAINED
from agent_runner.app.server.problems import Kind, Problem

MAX_DRAINED_BYTES = 64 << 20
GZIP_FROM_BYTES = 1000
GZIP_LEVEL = 5
SENT_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID")
SHOWN_HEADERS = ("Idempotent-Replayed", "Location", "Retry-After", "WWW-Authenticate")


class BodyLimit:
    """No route reads more than `limit` bytes. The bytes after them are dropped."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            await self._drain(receive, 0)
            raise Problem(Kind.TOO_LARGE, self._text, next_step=TOO_LARGE_NEXT)
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limit:
                await self._drain(receive, size)
                # Not a Problem: FastAPI would take it for a body that cannot be parsed.
                raise HTTPException(Kind.TOO_LARGE.http_status, self._text)
            return message

        await self._app(scope, limited, send)

    @property
    def _text(self) -> str:
        return f"the request has more than {self._limit} bytes (AGENT_RUNNER_MAX_REQUEST_BYTES)"

    async def _drain(self, receive: Receive, size: int) -> None:
        """Reads on for a while, so that the client can read the refusal."""
        most = self._limit + min(self._limit * DRAINED, MAX_DRAINED_BYTES)
        while size <= most:
            message = await receive()
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return


TOO_LARGE_NEXT = "Send less; large content belongs into files of the workspace."


def add_inner(app: FastAPI, *, max_request_bytes: int) -> None:
    """The middleware between guard and routes. Event streams are never compressed: a reader waits for each event."""
    app.add_middleware(BodyLimit, limit=max_request_bytes)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES, compresslevel=GZIP_LEVEL)


def add_outer(app: FastAPI, *, origins: list[str]) -> None:
    """The middleware around the guard: a page of an allowed origin can read refusals too. Cookies are never used."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=list(SENT_HEADERS),
            expose_headers=list(SHOWN_HEADERS),
            max_age=600,
        )
