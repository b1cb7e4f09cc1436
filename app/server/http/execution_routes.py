"""`/v1/executions`: create, read, follow, cancel, redrive, delete."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from app.server.drafts import draft_of_json, env_of
from app.server.edges import Edges
from app.server.executions import SPEC_ROOM_BYTES, Accepted
from app.server.follow import until_ended
from app.server.http.answers import body_json
from app.server.http.events import HEADERS, MEDIA_TYPE, event_stream
from app.server.http.metrics import Metrics
from app.server.http.schemas import CREATE_BODY
from app.server.problems import invalid
from status.phases import Phase

ESCAPED = 6
"""JSON may write one byte as six (`\\u0041`)."""
MAX_WAIT_S = 3600.0
MAX_KEY_LENGTH = 255
_PHASES = {name: p for p in Phase for name in (p.wire_name, p.name, str(p.value))}


def execution_routes(edges: Edges, metrics: Metrics) -> APIRouter:
    handlers = ExecutionHandlers(edges, metrics)
    routes = APIRouter(prefix="/v1/executions", tags=["executions"])
    one = "/{execution_id}"
    routes.add_api_route("", handlers.create, methods=["POST"], status_code=201, openapi_extra=CREATE_BODY)
    routes.add_api_route("", handlers.list, methods=["GET"])
    routes.add_api_route(one, handlers.get, methods=["GET"])
    routes.add_api_route(one, handlers.delete, methods=["DELETE"])
    routes.add_api_route(f"{one}/cancel", handlers.cancel, methods=["POST"], status_code=202)
    routes.add_api_route(f"{one}/redrive", handlers.redrive, methods=["POST"], status_code=201)
    routes.add_api_route(f"{one}/events", handlers.events, methods=["GET"])
    return routes


class ExecutionHandlers:
    def __init__(self, edges: Edges, metrics: Metrics) -> None:
        self._edges = edges
        self._executions = edges.executions
        self._metrics = metrics
        self._max_body = ESCAPED * edges.ctx.settings.max_message_bytes + SPEC_ROOM_BYTES

    async def create(
        self,
        request: Request,
        wait: Annotated[float | None, Query(ge=0, description="answer when it ends, at the latest after this")] = None,
        idempotency_key: Annotated[str, Header()] = "",
        accept: Annotated[str, Header()] = "",
    ) -> Response:
        """A new execution, from the contract's AgentExecution or the short form."""
        draft = draft_of_json(await body_json(request, self._max_body), idempotency_key=_key(idempotency_key))
        return await self._accepted(await self._executions.create(draft), accept, wait)

    async def list(
        self,
        phase: str = "",
        session_id: str = "",
        agent: str = "",
        org: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> Response:
        """Newest first. `agent` is an id or a slug; `phase` a name, with or without EXECUTION_."""
        page = await self._executions.list(
            org=org,
            phase=_phase(phase),
            session_id=session_id,
            agent=agent,
            page_size=max(0, page_size),
            page_token=page_token,
        )
        entries = await self._edges.shown_page(page)
        return JSONResponse({"entries": entries, "next_page_token": page.next_token, "total": page.total})

    async def get(self, execution_id: str) -> Response:
        """The execution with its whole status."""
        return JSONResponse(await self._edges.shown(execution_id))

    async def delete(self, execution_id: str) -> Response:
        """Only when it has ended; answers what it was."""
        was = await self._edges.shown(execution_id)
        await self._executions.delete(execution_id)
        return JSONResponse(was)

    async def cancel(self, execution_id: str) -> Response:
        """Ask for its end, which arrives on the stream."""
        await self._executions.cancel(execution_id)
        return JSONResponse(await self._edges.shown(execution_id), status_code=202)

    async def redrive(
        self,
        request: Request,
        execution_id: str,
        wait: Annotated[float | None, Query(ge=0)] = None,
        idempotency_key: Annotated[str, Header()] = "",
        accept: Annotated[str, Header()] = "",
    ) -> Response:
        """A new execution with the same input. A body `{"env": {...}}` brings its secrets again."""
        body = await body_json(request, self._max_body, optional=True)
        env = env_of(body if isinstance(body, dict) else {"env": body})
        accepted = await self._executions.redrive(execution_id, env=env, idempotency_key=_key(idempotency_key))
        return await self._accepted(accepted, accept, wait)

    async def events(self, execution_id: str, last_event_id: Annotated[str | None, Header()] = None) -> Response:
        """Server-sent events: a snapshot, or what follows Last-Event-ID; every later row of the log; the end."""
        await self._executions.get(execution_id)
        return self._stream(execution_id, last_event_id, {}, 200)

    async def _accepted(self, accepted: Accepted, accept: str, wait: float | None) -> Response:
        new = accepted.execution.id
        headers = {"Location": f"/v1/executions/{new}"}
        if accepted.known:
            headers["Idempotent-Replayed"] = "true"
        else:
            self._metrics.accepted.inc()
        if MEDIA_TYPE in accept:
            return self._stream(new, None, headers, 201)
        if wait:
            await until_ended(self._edges.ctx, new, min(wait, MAX_WAIT_S))
        return JSONResponse(await self._edges.shown(new), status_code=201, headers=headers)

    def _stream(
        self, execution_id: str, last_event_id: str | None, headers: Mapping[str, str], status: int
    ) -> Response:
        chunks = self._counted(event_stream(self._edges.ctx, execution_id, last_event_id))
        return StreamingResponse(chunks, status_code=status, media_type=MEDIA_TYPE, headers={**HEADERS, **headers})

    async def _counted(self, chunks: AsyncGenerator[str, None]) -> AsyncIterator[str]:
        with self._metrics.streams.track_inprogress():
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk


def _phase(name: str) -> Phase | None:
    if not name:
        return None
    if (phase := _PHASES.get(name.upper())) is None:
        raise invalid(f"phase: {name!r} is none of {', '.join(p.name for p in Phase)}")
    return phase


def _key(idempotency_key: str) -> str:
    if len(idempotency_key) > MAX_KEY_LENGTH:
        raise invalid(f"Idempotency-Key: at most {MAX_KEY_LENGTH} characters")
    return idempotency_key
