"""`/v1/agui/{agent}`: runs for front ends that speak AG-UI 1.0 (CopilotKit, `@ag-ui/client`)."""

from typing import Any
from urllib.parse import quote

from ag_ui.core import types as t
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.front_ends.agui_events import AgUi
from agent_runner.app.server.front_ends.agui_history import messages_of
from agent_runner.app.server.front_ends.agui_input import asked_of, input_of
from agent_runner.app.server.front_ends.front_answers import (
    CANCELLED,
    FrontAnswers,
    LastEventId,
    RunId,
    address,
    frames_of,
)
from agent_runner.app.server.front_ends.front_paths import AGUI
from agent_runner.app.server.front_ends.front_runs import name_of, noted_of
from agent_runner.app.server.http.document.front_end_schemas import AGUI_FORM
from agent_runner.app.server.http.document.schemas import STRING, body_of
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.store.records import Execution

Responses = dict[int | str, dict[str, Any]]
_EVENT = {"type": "object", "required": ["type"], "properties": {"type": STRING}}
_EVENTS: Responses = {200: frames_of("events of AG-UI 1.0", _EVENT)}


def agui_routes(edges: Edges, metrics: Metrics) -> APIRouter:
    do, routes = AgUiHandlers(FrontAnswers(edges, metrics)), APIRouter(prefix=AGUI, tags=["front ends"])
    add, one = routes.add_api_route, "/{agent}/{thread_id}"
    add("/{agent}", do.run, methods=["POST"], openapi_extra=body_of(AGUI_FORM), response_class=StreamingResponse,
        responses=_EVENTS)  # fmt: skip
    add(f"{one}/stream", do.follow, methods=["GET"], response_class=StreamingResponse, responses=_EVENTS)
    add(f"{one}/cancel", do.cancel, methods=["POST"], status_code=202, responses={202: CANCELLED})
    return routes


class AgUiHandlers:
    def __init__(self, answers: FrontAnswers) -> None:
        self._answers, self._runs = answers, answers.runs

    async def run(self, request: Request, agent: str, last_event_id: LastEventId = "") -> Response:
        """A run of an agent or a graph, and its events. The same `runId` again is the same run: its events are told
        from the beginning, or after Last-Event-ID."""
        with self._answers.place() as place:
            given = input_of(await self._answers.body(request))
            run_id = name_of(given.run_id, "runId")
            execution, cancels = await self._runs.find(given.thread_id, run_id), False
            if execution is None:
                asked = await asked_of(given, self._runs)
                execution, cancels = await self._answers.started(agent, given.thread_id, asked)
            dialect = self._dialect(execution, given.thread_id, run_id)
            again = f"{address(AGUI, agent, given.thread_id)}/stream?run_id={quote(run_id, safe='')}"
            return self._answers.stream(place, execution, dialect, last_event_id, again, cancels=cancels)

    async def follow(self, agent: str, thread_id: str, run_id: RunId = "", last_event_id: LastEventId = "") -> Response:
        """The events of a run, from the beginning or after Last-Event-ID. Without `run_id` those of the thread's newest
        run, behind the messages of the thread: what a page needs that was loaded again."""
        with self._answers.place() as place:
            execution = await self._runs.find(thread_id, run_id)
            if execution is None:
                what = f"run {run_id[:80]!r}" if run_id else "run"
                raise Problem(
                    Kind.NOT_FOUND,
                    f"thread {thread_id[:80]!r} has no {what}",
                    next_step="POST a RunAgentInput to begin one.",
                )
            dialect = self._dialect(execution, thread_id, run_id or str(noted_of(execution).get("run_id") or ""))
            if not run_id:
                dialect.before = await messages_of(
                    self._answers.ctx, execution.session_id, execution.handle, whole=False
                )
            again = f"{address(AGUI, agent, thread_id)}/stream" + (
                f"?run_id={quote(run_id, safe='')}" if run_id else ""
            )
            return self._answers.stream(place, execution, dialect, last_event_id, again)

    async def cancel(self, agent: str, thread_id: str) -> Response:
        """Cancels the open runs of the thread."""
        return await self._answers.cancelled(thread_id)

    def _dialect(self, execution: Execution, thread_id: str, run_id: str) -> AgUi:
        async def history() -> list[t.Message]:
            return await messages_of(self._answers.ctx, execution.session_id, execution.handle, whole=True)

        facts = {"execution_id": execution.id, "session_id": execution.session_id}
        known = frozenset(noted_of(execution).get("open_calls") or ())
        return AgUi(thread_id, run_id or execution.id, facts, history, known)
