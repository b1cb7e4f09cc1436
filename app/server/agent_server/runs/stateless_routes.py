"""`/runs`: runs without a thread of the caller's, many runs at once, and the cancel of many."""

from typing import Annotated, Literal

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import Field, RootModel

from agent_runner.app.server.agent_server.path_ids import RunId
from agent_runner.app.server.agent_server.request_bodies import sent
from agent_runner.app.server.agent_server.runs.run_answers import RunAnswers
from agent_runner.app.server.agent_server.runs.run_bodies import RunCreate, RunsCancel
from agent_runner.app.server.agent_server.runs.run_service import RunService
from agent_runner.app.server.agent_server.runs.stream_modes import chosen_modes
from agent_runner.app.server.agent_server.streams.frames import ID_PATTERN, place_after
from agent_runner.app.server.http.document.schemas import body_of
from agent_runner.app.server.route_group import RouteGroup

MOST_AT_ONCE = 100


class Batch(RootModel[list[RunCreate]]):
    root: list[RunCreate] = Field(min_length=1, max_length=MOST_AT_ONCE)


def stateless_routes(runs: RunService, answers: RunAnswers, limit: int) -> RouteGroup:
    routes = RouteGroup(prefix="/runs", tags=["runs"])
    made = body_of(RunCreate)

    @routes.post("", name="create stateless run", openapi_extra=made)
    async def create(request: Request) -> Response:
        asked = await sent(request, RunCreate, limit=limit)
        new = await runs.create(None, asked, keeps_stream=True)
        return JSONResponse(await runs.shown(new.execution), headers=new.places("stream"))

    @routes.post("/stream", name="stream stateless run", openapi_extra=made, response_class=StreamingResponse)
    async def stream(request: Request) -> Response:
        with answers.place() as place:
            asked = await sent(request, RunCreate, limit=limit)
            new = await runs.create(None, asked, keeps_stream=True, id=answers.new_id(place))
            return answers.stream_new(place, new)

    @routes.post("/wait", name="wait for stateless run", openapi_extra=made)
    async def wait(request: Request) -> Response:
        with answers.place() as place:
            asked = await sent(request, RunCreate, limit=limit)
            new = await runs.create(None, asked, keeps_stream=asked.stream_resumable)
            return answers.wait_for_new(place, new)

    @routes.post("/batch", name="create runs", openapi_extra=body_of(Batch))
    async def batch(request: Request) -> Response:
        """All of them, or none if one is refused."""
        asked = (await sent(request, Batch, limit=limit)).root
        for one in asked:
            await runs.check(None, one)
        new = [await runs.create(None, one, keeps_stream=True) for one in asked]
        return JSONResponse([await runs.shown(one.execution) for one in new])

    @routes.post(
        "/cancel", name="cancel runs", openapi_extra=body_of(RunsCancel), status_code=204,
        response_class=Response,
    )  # fmt: skip
    async def cancel(
        request: Request, action: Annotated[Literal["interrupt", "rollback"], Query()] = "interrupt"
    ) -> Response:
        asked = await sent(request, RunsCancel)
        await runs.cancel_many(asked.thread_id, asked.run_ids, asked.status, action)
        return Response(status_code=204)

    @routes.get("/{run_id}/stream", name="follow stateless run", response_class=StreamingResponse)
    async def follow(
        run_id: RunId,
        stream_mode: Annotated[list[str] | None, Query()] = None,
        last_event_id: Annotated[str, Header(alias="Last-Event-ID", json_schema_extra={"pattern": ID_PATTERN})] = "",
    ) -> Response:
        found = await runs.of_id(run_id)
        with answers.place() as place:
            after = place_after(last_event_id, found.last_seq)
            return answers.stream(place, found, after, only=chosen_modes(stream_mode))

    @routes.get("/{run_id}/join", name="join stateless run")
    async def join(run_id: RunId) -> Response:
        """Its last values, once it has ended."""
        found = await runs.of_id(run_id)
        with answers.place() as place:
            return answers.wait(place, found)

    return routes
