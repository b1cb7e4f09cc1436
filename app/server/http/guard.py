"""Wraps every HTTP request: finds its caller, turns the last errors into answers, counts it for the metrics."""

import time
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_runner.app.server.access.gate import Gate
from agent_runner.app.server.access.known_key import KnownKey
from agent_runner.app.server.access.request_ids import REQUEST_ID, request_id
from agent_runner.app.server.access.stream_tickets import take_ticket
from agent_runner.app.server.agent_server.edge_paths import is_edge, is_guarded
from agent_runner.app.server.agent_server.refusals import refusal
from agent_runner.app.server.answers.answer_access import PATH as ANSWER
from agent_runner.app.server.answers.answer_access import take_answer_token
from agent_runner.app.server.contract.texts import check_text
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.app.server.problems import internal, of_exception
from agent_runner.clients.tracing.tracing import Tracing, context_in
from agent_runner.status.event_logger import bound, event_logger

GUARDED = "/v1"
METRICS = "/metrics"
API_KEY = "x-api-key"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
FAILED = 500
log = event_logger(__name__)


class Guard:
    def __init__(
        self, app: ASGIApp, *, gate: Gate, known_key: KnownKey, metrics: Metrics, metrics_open: bool, tracing: Tracing
    ) -> None:
        self._app = app
        self._known_key = known_key
        self._metrics_open = metrics_open
        self._gate = gate
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with bound(alone=True, request_id=request_id(Headers(scope=scope).get(REQUEST_ID))):
            if self._tracing.on and scope["method"] not in READING and self._guarded(scope["path"]):
                await self._traced(scope, receive, send)
            else:
                await self._answer(scope, receive, send)

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        """In a span that continues the caller's trace. Reads have none: pages ask all the time."""
        parent = context_in(Headers(scope=scope))
        method = scope["method"]
        with self._tracing.span(f"{method}", "server", parent=parent, http__request__method=method) as span:
            status = await self._answer(scope, receive, send)
            span.rename(f"{method} {_route(scope)}")
            span.tell({"http.route": _route(scope), "http.response.status_code": status})
            if status >= FAILED:
                span.fail(str(status))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The status that was answered; 0 if there was no answer."""
        began = time.monotonic()
        status = 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            ticket, execution_id, scope["query_string"] = take_ticket(
                scope["method"], scope["path"], scope["query_string"]
            )
            if ticket:
                self._gate.enter_by_ticket(ticket, execution_id)
            elif scope["path"] == ANSWER:
                shown, scope["query_string"] = take_answer_token(
                    Headers(scope=scope).get("authorization"), scope["query_string"]
                )
                await self._gate.enter_by_answer_token(shown)
                scope.setdefault("state", {})["answer_token"] = shown
            elif self._guarded(scope["path"]):
                given = _key_in(Headers(scope=scope), scope["path"])
                await self._gate.enter(self._known_key.taken_for(given, scope))
            check_text("the address", scope["path"] + unquote(scope["query_string"].decode("latin-1")))
            await self._app(scope, receive, sent)
        except Exception as error:
            if status:  # the answer has begun: only a closed connection can show the error
                raise
            problem = of_exception(error)
            if problem is None:
                log.exception("request.failed", method=scope["method"], path=scope["path"])
                problem = internal()
            elif error.__cause__ is not None:
                log.debug(
                    "request.refused",
                    method=scope["method"],
                    path=scope["path"],
                    code=problem.code,
                    cause=repr(error.__cause__),
                )
            await refusal(scope["path"], problem)(scope, receive, sent)
        finally:
            took_s = time.monotonic() - began
            self._metrics.request(scope["method"], _route(scope), status, took_s)
            log.debug(
                "request.answered",
                method=scope["method"],
                route=_route(scope),
                status=status,
                duration_s=round(took_s, 4),
            )
        return status

    def _guarded(self, path: str) -> bool:
        ours = path == GUARDED or path.startswith(f"{GUARDED}/") or is_guarded(path)
        return ours or (path == METRICS and not self._metrics_open)


def _key_in(headers: Headers, path: str) -> str | None:
    """The key as `Authorization` has it. Clients of the Agent Server API send it as `x-api-key`."""
    key = headers.get(API_KEY) if is_edge(path) else None
    return f"Bearer {key}" if key else headers.get("authorization")


def _route(scope: Scope) -> str:
    """The route's pattern, so that ids do not become labels."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "other"))
