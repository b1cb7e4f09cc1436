"""What a page for operators needs besides the list: its changes, many at once, the time line, the overview."""

import asyncio
from contextlib import ExitStack
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.answers import body_model
from agent_runner.app.server.http.document.event_schemas import listened
from agent_runner.app.server.http.document.schemas import answer, body_of
from agent_runner.app.server.http.events import HEADERS, MEDIA_TYPE
from agent_runner.app.server.http.large_json import json_answer
from agent_runner.app.server.http.lasting import LastingResponse
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.app.server.listing.bulk_calls import RESULTS, Ids, each
from agent_runner.app.server.listing.change_feed import ChangeFeeds
from agent_runner.app.server.listing.list_parameters import Asked
from agent_runner.app.server.listing.overview import OVERVIEW, Overviews
from agent_runner.app.server.listing.time_line import TIME_LINE, time_line
from agent_runner.app.server.log_feed.follow import snapshot
from agent_runner.app.server.route_group import RouteGroup


def listing_routes(edges: Edges, server: ServerContext, metrics: Metrics) -> RouteGroup:
    """Its addresses come before `/v1/executions/{execution_id}`. `server`: its store is narrowed to no caller."""
    routes = RouteGroup(prefix="/v1")
    executions, ctx = edges.executions, edges.ctx
    feeds, overviews = ChangeFeeds(ctx, server), Overviews(ctx)
    many: dict[str, Any] = {"openapi_extra": body_of(Ids), "responses": {200: answer(RESULTS)}}

    @routes.get("/executions/changes", tags=["executions"], response_class=StreamingResponse,
                responses={200: listened()})  # fmt: skip
    async def changes(asked: Asked) -> Response:
        """Server-sent events, without an end: `rows` that are new or changed, at most once a second, and `counts`. A
        row that has changed its phase comes whatever `phase` is asked for."""
        query = await executions.listing.checked(asked)
        with ExitStack() as place:
            place.enter_context(ctx.gate.streams.one())
            place.enter_context(metrics.streams.track_inprogress())
            return LastingResponse(place.pop_all(), feeds.stream(query), media_type=MEDIA_TYPE, headers=HEADERS)

    @routes.post("/executions:cancel", tags=["executions"], **many)
    async def cancel(request: Request) -> Response:
        """Asks for the end of each; one that has ended is no error."""

        async def one(id: str) -> None:
            await executions.cancel(id)

        return await json_answer(await each((await body_model(request, Ids)).ids, one))

    @routes.post("/executions:redrive", tags=["executions"], **many)
    async def redrive(request: Request) -> Response:
        """A new execution for each that has ended; not for one that had secrets, which have to be sent again."""

        async def one(id: str) -> dict[str, Any]:
            accepted = await executions.redrive(id, env={})
            metrics.accepted.inc()
            return {"made": accepted.execution.id}

        return await json_answer(await each((await body_model(request, Ids)).ids, one))

    @routes.post("/executions:delete", tags=["executions"], **many)
    async def delete(request: Request) -> Response:
        """Each that has ended."""

        async def one(id: str) -> None:
            await executions.delete(id)

        return await json_answer(await each((await body_model(request, Ids)).ids, one))

    @routes.get("/executions/{execution_id}/timeline", tags=["executions"], responses={200: answer(TIME_LINE)})
    async def timeline(execution_id: str) -> Response:
        """What it waited for, its run, and the calls of tools, sub-agents and models inside it."""
        found = await snapshot(ctx, execution_id)
        return await json_answer(await asyncio.to_thread(time_line, found.execution, found.state))

    @routes.get("/overview", tags=["workers"], responses={200: answer(OVERVIEW)})
    async def overview() -> Response:
        """Workers, what waits in each queue, and the last hour, minute by minute: of the caller's org."""
        return JSONResponse(await overviews.shown())

    return routes
