"""`/threads/{thread_id}/runs`: create, stream, wait, join, list, get, cancel, delete."""

from typing import Annotated, Any, Literal

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService
from agent_runner.app.server.agent_server.offsets import page_answer, selected
from agent_runner.app.server.agent_server.path_ids import RunId, ThreadId
from agent_runner.app.server.agent_server.request_bodies import sent
from agent_runner.app.server.agent_server.runs.commands import Commands
from agent_runner.app.server.agent_server.runs.run_answers import RunAnswers, join_error
from agent_runner.app.server.agent_server.runs.run_bodies import RunCreate
from agent_runner.app.server.agent_server.runs.run_service import RunService
from agent_runner.app.server.agent_server.runs.run_view import RunField
from agent_runner.app.server.agent_server.runs.stateless_routes import stateless_routes
from agent_runner.app.server.agent_server.runs.stream_modes import chosen_modes
from agent_runner.app.server.agent_server.streams.frames import ID_PATTERN, place_after
from agent_runner.app.server.agent_server.streams.protocol_routes import protocol_routes
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import known_uuid
from agent_runner.app.server.contract.create_limits import create_bytes
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.document.schemas import EVENTS, JSON, STRING, answer, body_of, object_of
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.store.records import Execution

Json = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1 << 40)]
Flag = Annotated[bool, Query()]
Action = Annotated[Literal["interrupt", "rollback"], Query()]
Named = Annotated[list[str] | None, Query()]
Selected = Annotated[list[RunField] | None, Query()]
LastEventId = Annotated[str, Header(alias="Last-Event-ID", json_schema_extra={"pattern": ID_PATTERN})]

OF_THREAD = "/threads/{thread_id}/runs"
ONE = f"{OF_THREAD}/{{run_id}}"
OTHER_ROUTES = frozenset({"stream", "wait", "crons"})
"""What stands in the place of a run's id in the addresses of other routes."""
_SHOWN: Responses = {200: answer({"type": "object"}, "the run")}
_EVENT = object_of(event=STRING, data={**STRING, "contentMediaType": JSON})
_EVENTS = {"description": "the events of the run, until its end", "content": {EVENTS: {"itemSchema": _EVENT}}}
_VALUES: Responses = {200: {"description": "the last values of the run", "content": {JSON: {"schema": {}}}}}


def run_routes(edges: Edges, threads: ThreadService, assistants: AssistantService) -> RouteGroup:
    runs = RunService(edges, threads, assistants)
    answers = RunAnswers(edges, runs)
    limit = create_bytes(edges.ctx.settings)
    do, routes = RunHandlers(runs, answers, limit), RouteGroup(tags=["runs"])
    add, made = routes.add_api_route, body_of(RunCreate)
    streamed: dict[str, Any] = {"response_class": StreamingResponse, "responses": {200: _EVENTS}}
    add(OF_THREAD, do.create, methods=["POST"], openapi_extra=made, responses=_SHOWN)
    add(f"{OF_THREAD}/stream", do.stream, methods=["POST"], openapi_extra=made, **streamed)
    add(f"{OF_THREAD}/wait", do.wait, methods=["POST"], openapi_extra=made, responses=_VALUES)
    add(OF_THREAD, do.of_thread, methods=["GET"])
    add(ONE, do.get, methods=["GET"], responses=_SHOWN)
    add(ONE, do.delete, methods=["DELETE"], status_code=204, response_class=Response)
    add(f"{ONE}/join", do.join, methods=["GET"], responses=_VALUES)
    add(f"{ONE}/stream", do.follow, methods=["GET"], **streamed)
    add(f"{ONE}/cancel", do.cancel, methods=["POST"], responses={202: {"description": "it is asked for"}, **_VALUES})
    routes.routes += stateless_routes(runs, answers, limit).routes
    routes.routes += protocol_routes(edges.ctx, threads, answers, Commands(edges.ctx, runs)).routes
    return routes


class RunHandlers:
    def __init__(self, runs: RunService, answers: RunAnswers, limit: int) -> None:
        self._runs, self._answers, self._limit = runs, answers, limit

    async def create(self, thread_id: ThreadId, request: Request) -> Response:
        """A new run, in the background."""
        asked = await sent(request, RunCreate, limit=self._limit)
        new = await self._runs.create(thread_id, asked, keeps_stream=True)
        return JSONResponse(await self._runs.shown(new.execution), headers=new.places("stream"))

    async def stream(self, thread_id: ThreadId, request: Request) -> Response:
        """A new run and its events, until its end."""
        with self._answers.place() as place:
            asked = await sent(request, RunCreate, limit=self._limit)
            new = await self._runs.create(thread_id, asked, keeps_stream=True, id=self._answers.new_id(place))
            return self._answers.stream_new(place, new)

    async def wait(self, thread_id: ThreadId, request: Request) -> Response:
        """A new run and its last values."""
        with self._answers.place() as place:
            asked = await sent(request, RunCreate, limit=self._limit)
            new = await self._runs.create(thread_id, asked, keeps_stream=asked.stream_resumable)
            return self._answers.wait_for_new(place, new)

    async def of_thread(
        self, thread_id: ThreadId, limit: Limit = 10, offset: Offset = 0, status: str = "", select: Selected = None
    ) -> Response:
        """The newest first."""
        found = await self._runs.of_thread(thread_id, limit=limit + 1, offset=offset, status=status)
        shown = [selected(await self._runs.shown(one), select) for one in found[:limit]]
        return page_answer(shown, offset=offset, limit=limit, total=offset + len(found))

    async def get(self, thread_id: ThreadId, run_id: RunId) -> Response:
        _is_no_route(run_id)
        return JSONResponse(await self._runs.shown(await self._runs.get(thread_id, run_id)))

    async def delete(self, thread_id: ThreadId, run_id: RunId) -> Response:
        """With what it did to the thread's memory, if nothing ran after it."""
        _is_no_route(run_id)
        await self._runs.delete(await self._runs.get(thread_id, run_id))
        return Response(status_code=204)

    async def join(self, thread_id: ThreadId, run_id: RunId, cancel_on_disconnect: Flag = False) -> Response:
        """The last values of a run, once it has ended."""
        found = await self._unless_absent(thread_id, run_id)
        if found is None:
            return JSONResponse(join_error())
        with self._answers.place() as place:
            return self._answers.wait(place, found, cancels=cancel_on_disconnect)

    async def follow(
        self,
        thread_id: ThreadId,
        run_id: RunId,
        stream_mode: Named = None,
        cancel_on_disconnect: Flag = False,
        last_event_id: LastEventId = "",
    ) -> Response:
        """The events of a run after `Last-Event-ID`; without one, those that come from now on."""
        found = await self._unless_absent(thread_id, run_id)
        with self._answers.place() as place:
            only, after = chosen_modes(stream_mode), place_after(last_event_id, found.last_seq if found else 0)
            if found is None:
                return self._answers.empty_stream(place)
            return self._answers.stream(place, found, after, only=only, cancels=cancel_on_disconnect)

    async def cancel(
        self, thread_id: ThreadId, run_id: RunId, wait: Flag = False, action: Action = "interrupt"
    ) -> Response:
        """Ask for its end; `wait`: answer after it."""
        found = await self._runs.cancel(await self._runs.get(thread_id, run_id), action=action)
        if not wait:
            return Response(status_code=202)
        with self._answers.place() as place:
            return self._answers.wait(place, found)

    async def _unless_absent(self, thread_id: str, run_id: str) -> Execution | None:
        known_uuid(thread_id, "thread_id")
        try:
            return await self._runs.get(thread_id, run_id)
        except Problem as problem:
            if problem.kind is not Kind.NOT_FOUND:
                raise
            return None


def _is_no_route(run_id: str) -> None:
    if run_id in OTHER_ROUTES:
        raise Problem(Kind.METHOD_NOT_ALLOWED, "Method Not Allowed", next_step="/docs lists the routes.")
