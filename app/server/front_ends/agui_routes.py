"""`/v1/agui/{agent}`: runs for front ends that speak AG-UI 1.0 (CopilotKit, `@ag-ui/client`)."""

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.front_ends.front_answers import CANCELLED, FrontAnswers, LastEventId, RunId, frames_of
from agent_runner.app.server.front_ends.front_paths import AGUI
from agent_runner.app.server.http.document.front_end_schemas import AGUI_BODY
from agent_runner.app.server.http.document.schemas import STRING, body_of
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.app.server.route_group import RouteGroup

if TYPE_CHECKING:
    from agent_runner.app.server.front_ends.agui.agui_runs import AgUiRuns

Responses = dict[int | str, dict[str, Any]]
_EVENT = {"type": "object", "required": ["type"], "properties": {"type": STRING}}
_EVENTS: Responses = {200: frames_of("events of AG-UI 1.0", _EVENT)}


def agui_routes(edges: Edges, metrics: Metrics) -> RouteGroup:
    do, routes = AgUiHandlers(FrontAnswers(edges, metrics)), RouteGroup(prefix=AGUI, tags=["front ends"])
    add, one = routes.add_api_route, "/{agent}/{thread_id}"
    add("/{agent}", do.run, methods=["POST"], openapi_extra=body_of(AGUI_BODY), response_class=StreamingResponse,
        responses=_EVENTS)  # fmt: skip
    add(f"{one}/stream", do.follow, methods=["GET"], response_class=StreamingResponse, responses=_EVENTS)
    add(f"{one}/cancel", do.cancel, methods=["POST"], status_code=202, responses={202: CANCELLED})
    return routes


class AgUiHandlers:
    """AG-UI's own library is imported with the first request: a tenth of a server's start would be for its types."""

    def __init__(self, answers: FrontAnswers) -> None:
        self._answers = answers
        self._opened: AgUiRuns | None = None

    async def run(self, request: Request, agent: str, last_event_id: LastEventId = "") -> Response:
        """A run of an agent or a graph, and its events. The same `runId` again is the same run: its events are told
        from the beginning, or after Last-Event-ID."""
        return await (await self._runs()).run(request, agent, last_event_id)

    async def follow(self, agent: str, thread_id: str, run_id: RunId = "", last_event_id: LastEventId = "") -> Response:
        """The events of a run, from the beginning or after Last-Event-ID. Without `run_id` those of the thread's newest
        run, behind the messages of the thread: what a page needs that was loaded again."""
        return await (await self._runs()).follow(agent, thread_id, run_id, last_event_id)

    async def cancel(self, agent: str, thread_id: str) -> Response:
        """Cancels the open runs of the thread."""
        return await self._answers.cancelled(thread_id)

    async def _runs(self) -> "AgUiRuns":
        if self._opened is None:
            self._opened = await asyncio.to_thread(self._open)
        return self._opened

    def _open(self) -> "AgUiRuns":
        from agent_runner.app.server.front_ends.agui.agui_runs import AgUiRuns

        return AgUiRuns(self._answers)
