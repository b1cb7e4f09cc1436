"""The answers that both protocols have in common: a stream, a cancel."""

from contextlib import ExitStack
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse, Response

from agent_runner.app.server.contract.create_limits import create_bytes, create_limits
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.front_ends.front_runs import ON_DISCONNECT, Asked, FrontRuns, noted_of
from agent_runner.app.server.front_ends.front_stream import Dialect, front_frames, position_after, watched
from agent_runner.app.server.front_ends.happenings import Json
from agent_runner.app.server.http.answers import MAX_RESOURCE_BYTES, body_json
from agent_runner.app.server.http.document.schemas import EVENTS, JSON, STRING, answer, object_of
from agent_runner.app.server.http.events import HEADERS, MEDIA_TYPE
from agent_runner.app.server.http.lasting import LastingResponse
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.status.store.records import Execution

LastEventId = Annotated[
    str, Header(alias="Last-Event-ID", max_length=40, description="the id of the last frame that was read: the rest")
]
RunId = Annotated[str, Query(max_length=200, description="the run, as the front end named it; without it the newest")]
CANCELLED = answer(object_of(cancelled={"type": "array", "items": STRING}), "asked for; the streams tell the ends")


def frames_of(name: str, event: Json, *, last: str = "") -> Json:
    """A route's answer: a stream of this protocol. `last`: what its last frame has in place of JSON."""
    data = {**STRING, "contentMediaType": JSON, "contentSchema": event}
    shown: Json = {"type": "object", "required": ["data"], "properties": {"id": STRING, "data": data}}
    if last:
        end = {"type": "object", "required": ["data"], "properties": {"data": {"const": last}}}
        shown = {"anyOf": [shown, end]}
    return {"description": f"{name}, until the end of the run", "content": {EVENTS: {"itemSchema": shown}}}


class FrontAnswers:
    def __init__(self, edges: Edges, metrics: Metrics) -> None:
        self.runs = FrontRuns(edges)
        self.ctx = edges.ctx
        self._metrics = metrics

    async def body(self, request: Request) -> Any:
        """A conversation may be long: what is new in it has the usual limits."""
        settings = self.ctx.settings
        most = create_bytes(settings) + MAX_RESOURCE_BYTES
        return await body_json(request, most, limited_by=create_limits(settings))

    def place(self) -> ExitStack:
        """Counts the answer as an open stream until its end. Raises TOO_MANY."""
        place = ExitStack()
        place.enter_context(self.ctx.gate.streams.one())
        return place

    async def started(self, agent: str, thread: str, asked: Asked) -> tuple[Execution, bool]:
        """(the execution, whether it is to be cancelled when its reader goes away)."""
        execution, known = await self.runs.start(agent, thread, asked)
        if not known:
            self._metrics.accepted.inc()
        return execution, asked.options.get(ON_DISCONNECT) == "cancel"

    def stream(
        self,
        place: ExitStack,
        execution: Execution,
        dialect: Dialect,
        last_event_id: str,
        again: str,
        *,
        cancels: bool = False,
    ) -> Response:
        """`again`: the address for a reader whose connection broke."""
        theirs = frozenset(noted_of(execution).get("tools") or ())
        after = position_after(last_event_id)
        frames = front_frames(self.ctx, execution, after, dialect, theirs=theirs)
        chunks = watched(frames, self.ctx, self.runs, execution.id, cancels=cancels)
        place.enter_context(self._metrics.streams.track_inprogress())
        headers = {
            **HEADERS,
            **dialect.headers,
            "Location": again,
            "Content-Location": f"/v1/executions/{execution.id}",
        }
        return LastingResponse(place.pop_all(), chunks, media_type=MEDIA_TYPE, headers=headers)

    async def cancelled(self, thread: str) -> Response:
        return JSONResponse({"cancelled": await self.runs.cancel(thread)}, status_code=202)


def address(*parts: str) -> str:
    first, *rest = parts
    return "/".join([first, *(quote(part, safe="") for part in rest)])
