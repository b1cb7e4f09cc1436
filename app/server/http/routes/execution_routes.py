"""`/v1/executions`: create, read, follow, cancel, redrive, delete."""

from collections.abc import Awaitable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from agent_runner.app.server.contract.create_limits import create_bytes, create_limits
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.drafts.attachments import attachment
from agent_runner.app.server.executions.drafts.draft import Accepted, draft_of_json, redrive_of
from agent_runner.app.server.http.answers import body_json
from agent_runner.app.server.http.document.event_schemas import streamed
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import (
    BYTES,
    CREATE_BODY,
    EVENTS,
    TICKET,
    answer,
    body_of,
    page_of,
)
from agent_runner.app.server.http.events import HEADERS, MEDIA_TYPE, event_stream
from agent_runner.app.server.http.large_json import json_answer
from agent_runner.app.server.http.lasting import LastingResponse
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.app.server.http.routes.downloads import download
from agent_runner.app.server.http.routes.parameters import (
    Begin,
    IdempotencyKey,
    PageSize,
    PageToken,
    Position,
    TicketText,
    Wait,
)
from agent_runner.app.server.http.routes.plain_route import PlainRoute
from agent_runner.app.server.listing.list_parameters import Asked, ListView
from agent_runner.app.server.listing.summary_view import COUNTS, ROWS_PAGE, counts_json, row_json
from agent_runner.app.server.log_feed.follow import Snapshot, until_ended
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.log.bounds import MAX_PAGE_BYTES
from agent_runner.status.log.log import rfc3339
from agent_runner.status.store.lists.queries import View

MAX_WAIT_S = 3600.0


def plain_routes(edges: Edges, metrics: Metrics) -> list[PlainRoute]:
    """A short way to create an execution and to its events; see `PlainRoute`."""
    handlers, gate = ExecutionHandlers(edges, metrics), edges.ctx.gate

    def create(request: Request) -> Awaitable[Response]:
        return handlers.create(request, 0, request.headers.get("idempotency-key", ""))

    def events(request: Request) -> Awaitable[Response]:
        return handlers.events(request.path_params["execution_id"], request.headers.get("last-event-id", ""))

    return [
        PlainRoute("POST", "/v1/executions", create, gate),
        PlainRoute("GET", "/v1/executions/{execution_id}/events", events, gate),
    ]


def execution_routes(edges: Edges, metrics: Metrics) -> RouteGroup:
    handlers = ExecutionHandlers(edges, metrics)
    routes = RouteGroup(prefix="/v1/executions", tags=["executions"])
    one, add = "/{execution_id}", routes.add_api_route
    redrive = body_of(ref("RedriveForm"), required=False)
    add("", handlers.create, methods=["POST"], status_code=201, openapi_extra=CREATE_BODY, responses={201: _MADE})
    add("", handlers.list, methods=["GET"], responses={200: _LISTED})
    add("/counts", handlers.counts, methods=["GET"], responses={200: answer(COUNTS)})
    add(one, handlers.get, methods=["GET"], responses={200: _SHOWN})
    add(one, handlers.delete, methods=["DELETE"], responses={200: _SHOWN})
    add(f"{one}/cancel", handlers.cancel, methods=["POST"], status_code=202, responses={202: _SHOWN})
    add(f"{one}/redrive", handlers.redrive, methods=["POST"], status_code=201, openapi_extra=redrive,
        responses={201: _MADE})  # fmt: skip
    add(f"{one}/events", handlers.events, methods=["GET"], response_class=StreamingResponse,
        responses={200: streamed({"description": "the events, until the end of the execution"})})  # fmt: skip
    add(f"{one}/stream-ticket", handlers.ticket, methods=["POST"], status_code=201,
        responses={201: answer(TICKET, "for the address of one stream")})  # fmt: skip
    add(f"{one}/attachments/{{attachment_id}}", handlers.attachment, methods=["GET"], response_class=Response,
        responses={200: {"description": "its bytes, under their media type", "content": {"*/*": BYTES}}})  # fmt: skip
    return routes


_LISTED = answer({"anyOf": [page_of("AgentExecution"), ROWS_PAGE]}, "the second form with `view=summary`")
_SHOWN = answer(ref("AgentExecution"))
_MADE = streamed(
    answer(
        ref("AgentExecution"),
        f"accepted; with `Accept: {EVENTS}` its events, until its end",
        Location="its address",
        Idempotent_Replayed="`true`: the key was used before, this is the execution of the first call",
    )
)


class ExecutionHandlers:
    def __init__(self, edges: Edges, metrics: Metrics) -> None:
        self._edges = edges
        self._executions = edges.executions
        self._metrics = metrics
        self._streams = edges.ctx.gate.streams

    async def create(
        self,
        request: Request,
        wait: Wait = 0,
        idempotency_key: IdempotencyKey = "",
    ) -> Response:
        """A new execution, from the contract's AgentExecution or the short form."""
        with self._place_for(request, wait) as place:
            draft = draft_of_json(await self._body(request), idempotency_key=idempotency_key)
            if _streams(request):
                draft = replace(draft, id=place.enter_context(self._edges.ctx.watchers.watch_new()))
            return await self._accepted(await self._executions.create(draft), request, wait, place)

    async def list(
        self, asked: Asked, page_size: PageSize = 0, page_token: PageToken = "", view: ListView = ""
    ) -> Response:
        """Newest first, without content unless it is asked for (`view=full`); `view=summary` has light rows for people
        who watch. `agent` is an id or a slug."""
        asked = replace(asked, page_size=page_size, page_token=page_token)
        if view == "summary":
            page = await self._executions.listing.rows(asked)
            rows = [row_json(row) for row in page.rows]
            return await json_answer({"executions": rows, "nextPageToken": page.next_token})
        found = await self._executions.list(replace(asked, view=View(view or View.BRIEF), max_bytes=MAX_PAGE_BYTES))
        entries = self._edges.shown_page(found)
        return await json_answer({"entries": entries, "next_page_token": found.next_token, "total": found.total})

    async def counts(self, asked: Asked) -> Response:
        """How many are in each phase, whatever `phase` says. Counted up to 10,000: of each phase if nothing else is
        asked for, else of all that match, the newest first."""
        return JSONResponse(counts_json(await self._executions.listing.counts(asked)))

    async def get(self, execution_id: str) -> Response:
        """The execution with its whole status."""
        return await json_answer(await self._edges.shown(execution_id))

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
        wait: Wait = 0,
        idempotency_key: IdempotencyKey = "",
    ) -> Response:
        """A new execution with the same input. A body `{"env": {...}}` brings its secrets again; `from` says whether it
        goes on from the failed step (the default where memory has it) or begins before the run."""
        with self._place_for(request, wait) as place:
            env, begin = redrive_of(await self._body(request, optional=True))
            accepted = await self._executions.redrive(
                execution_id, env=env, begin=begin, idempotency_key=idempotency_key
            )
            return await self._accepted(accepted, request, wait, place)

    async def ticket(self, execution_id: str) -> Response:
        """A ticket for a browser's `EventSource`, which sends no key: it opens the events of this execution, once or
        several times, within a minute."""
        await self._executions.get(execution_id)
        ticket = self._edges.ctx.gate.tickets.issue(execution_id)
        shown = {"ticket": ticket.text, "url": ticket.url, "expires_at": rfc3339(ticket.expires_at)}
        return JSONResponse(shown, status_code=201, headers={"Cache-Control": "no-store"})

    async def events(
        self, execution_id: str, last_event_id: Position = "", begin: Begin = "", ticket: TicketText = ""
    ) -> Response:
        """Server-sent events: a snapshot, or what follows Last-Event-ID; every later row of the log; the end."""
        del ticket  # read before the route, and taken out of the address
        last_event_id = last_event_id or begin
        await self._executions.get(execution_id)
        with ExitStack() as place:
            place.enter_context(self._streams.one())
            return self._stream(execution_id, last_event_id, {}, 200, place)

    async def attachment(self, execution_id: str, attachment_id: str) -> Response:
        """A picture or a file that the execution was sent, as it was sent. `metadata.attachments` of messages has the
        ids."""
        await self._executions.get(execution_id)
        found = await attachment(self._edges.ctx, execution_id, attachment_id)
        return download(found.content or b"", found.mime_type, found.name or f"{execution_id}-{found.id}")

    @contextmanager
    def _place_for(self, request: Request, wait: float) -> Iterator[ExitStack]:
        """Counts a call with a long answer as an open stream, before anything is accepted, until the answer's end."""
        with ExitStack() as place:
            if wait or _streams(request):
                place.enter_context(self._streams.one())
            yield place

    async def _body(self, request: Request, *, optional: bool = False) -> Any:
        settings = self._edges.ctx.settings
        return await body_json(request, create_bytes(settings), optional=optional, limited_by=create_limits(settings))

    async def _accepted(self, accepted: Accepted, request: Request, wait: float, place: ExitStack) -> Response:
        new = accepted.execution.id
        headers = {"Location": f"/v1/executions/{new}"}
        if accepted.known:
            headers["Idempotent-Replayed"] = "true"
        else:
            self._metrics.accepted.inc()
        if _streams(request):
            made = Snapshot(execution=accepted.execution, state=accepted.state) if accepted.state else None
            return self._stream(new, "", headers, 201, place, made)
        if wait:
            await until_ended(self._edges.ctx, new, min(wait, MAX_WAIT_S))
        shown = await (self._edges.shown(new) if wait else self._edges.shown_new(accepted))
        return await json_answer(shown, status_code=201, headers=headers)

    def _stream(
        self,
        execution_id: str,
        last_event_id: str,
        headers: Mapping[str, str],
        status: int,
        place: ExitStack,
        made: Snapshot | None = None,
    ) -> Response:
        chunks = event_stream(self._edges.ctx, execution_id, last_event_id, made)
        place.enter_context(self._metrics.streams.track_inprogress())
        told = {**HEADERS, **headers}
        return LastingResponse(place.pop_all(), chunks, status_code=status, media_type=MEDIA_TYPE, headers=told)


def _streams(request: Request) -> bool:
    """Whether the answer is the events."""
    return MEDIA_TYPE in request.headers.get("accept", "")
