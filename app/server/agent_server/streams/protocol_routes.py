"""`/threads/{thread_id}/commands`, `/threads/{thread_id}/stream/events` and `/threads/{thread_id}/stream`."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ConfigDict, Field, WithJsonSchema

from agent_runner.app.server.agent_server.path_ids import ThreadId
from agent_runner.app.server.agent_server.refusals import unprocessable
from agent_runner.app.server.agent_server.request_bodies import Body, sent
from agent_runner.app.server.agent_server.runs.commands import CommandError, Commands
from agent_runner.app.server.agent_server.runs.run_answers import RunAnswers
from agent_runner.app.server.agent_server.streams.frames import HEADERS, MEDIA_TYPE, with_heartbeats
from agent_runner.app.server.agent_server.streams.protocol_events import CHANNELS, ProtocolEvent, thread_events
from agent_runner.app.server.agent_server.streams.thread_stream import (
    ID_PATTERN,
    STREAM_MODES,
    ThreadPosition,
    thread_frames,
    thread_position,
)
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import session_of
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.contract.json_text import WHOLE
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import STRING, answer, body_of, object_of
from agent_runner.app.server.http.lasting import LastingResponse
from agent_runner.app.server.problems import Problem, invalid
from agent_runner.app.server.route_group import RouteGroup

Json = dict[str, Any]
CUSTOM = "custom:"
_A_MODE = f"({'|'.join(sorted(STREAM_MODES))})"
StreamModes = Annotated[str, Field(json_schema_extra={"pattern": f"^{_A_MODE}(,{_A_MODE})*$"})]
_NO_COMMAND = object_of(type={"const": "error"}, id={"type": "null"}, error=STRING, message=STRING)
_CHANNELS: Json = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "string", "pattern": f"^({'|'.join(CHANNELS)})$|^{CUSTOM}"},
}


class Command(Body):
    id: Annotated[int, WHOLE]
    method: str
    params: Json | None = None


class Subscription(Body):
    model_config = ConfigDict(json_schema_extra={"required": ["channels"]})

    channels: Annotated[list[str] | None, WithJsonSchema(_CHANNELS)] = Field(default_factory=list)
    namespaces: list[list[str]] | None = None
    depth: Annotated[int, WHOLE] | None = None
    since: Annotated[int, WHOLE] | None = None

    def shows(self, event: ProtocolEvent) -> bool:
        named = f"{CUSTOM}{event.data.get('name')}" if event.method == "custom" and isinstance(event.data, dict) else ""
        if event.channel not in (self.channels or ()) and named not in (self.channels or ()):
            return False
        if self.namespaces is None:
            return True
        return any(self._within(prefix, event.namespace) for prefix in self.namespaces)

    def _within(self, prefix: Sequence[str], namespace: Sequence[str]) -> bool:
        inside = list(namespace[: len(prefix)]) == list(prefix)
        return inside and (self.depth is None or len(namespace) - len(prefix) <= self.depth)


def protocol_routes(ctx: ServerContext, threads: ThreadService, answers: RunAnswers, commands: Commands) -> RouteGroup:
    routes = RouteGroup(prefix="/threads/{thread_id}", tags=["runs", "streams of threads"])

    @routes.post(
        "/commands",
        name="thread command",
        openapi_extra=body_of(Command),
        responses={400: answer({"anyOf": [_NO_COMMAND, ref("Refusal")]}, "no command, or no request")},
    )
    async def command(thread_id: ThreadId, request: Request) -> Response:
        try:
            asked = await sent(request, Command)
        except Problem:
            words = "Protocol commands must include an integer id and string method."
            told = {"type": "error", "id": None, "error": "invalid_argument", "message": words}
            return JSONResponse(told, status_code=400)
        try:
            result = await commands.do(thread_id, asked.method, asked.params or {})
        except CommandError as error:
            return JSONResponse({"type": "error", "id": asked.id, "error": error.code, "message": error.message})
        return JSONResponse({"type": "success", "id": asked.id, "result": result, "meta": {"applied_through_seq": 0}})

    @routes.post(
        "/stream/events",
        name="thread events",
        openapi_extra=body_of(Subscription),
        response_class=StreamingResponse,
    )
    async def events(thread_id: ThreadId, request: Request) -> Response:
        asked = await sent(request, Subscription)
        if not asked.channels:
            raise invalid("channels is required and must be a non-empty array")
        if wrong := [one for one in asked.channels if one not in CHANNELS and not one.startswith(CUSTOM)]:
            raise invalid(f"channels contains unsupported entries: {', '.join(wrong)[:200]}. Allowed: {CHANNELS}")
        session_id = session_of(thread_id)
        with answers.place() as place:
            frames = with_heartbeats(_protocol_frames(ctx, session_id, asked))
            return LastingResponse(place.pop_all(), frames, media_type=MEDIA_TYPE, headers=dict(HEADERS))

    @routes.get("/stream", name="thread stream", response_class=StreamingResponse)
    async def stream(
        thread_id: ThreadId,
        stream_modes: Annotated[list[StreamModes] | None, Query()] = None,
        last_event_id: Annotated[str, Header(alias="Last-Event-ID", json_schema_extra={"pattern": ID_PATTERN})] = "",
    ) -> Response:
        thread = await threads.get(thread_id)
        given = [one for text in stream_modes or ["run_modes"] for one in text.split(",")]
        if wrong := sorted(set(given) - STREAM_MODES):
            raise unprocessable(f"stream_modes: {wrong[0][:40]!r} is none of {', '.join(sorted(STREAM_MODES))}")
        if last_event_id:
            after = thread_position(last_event_id)
        else:
            after = ThreadPosition(handle=await _now(ctx, thread.session_id), place=thread_position("-").place)
        with answers.place() as place:
            frames = with_heartbeats(thread_frames(ctx, thread.session_id, after, frozenset(given)))
            return LastingResponse(place.pop_all(), frames, media_type=MEDIA_TYPE, headers=dict(HEADERS))

    return routes


async def _now(ctx: ServerContext, session_id: str) -> int:
    """The handle of the run that is open now, else of the next one."""
    newest = await ctx.store.runs_of_session(session_id, limit=1)
    return newest[0].handle + (newest[0].completed_at is not None) if newest else 0


async def _protocol_frames(ctx: ServerContext, session_id: str, asked: Subscription) -> AsyncGenerator[str, None]:
    seq = 0
    async with aclosing(thread_events(ctx, session_id)) as events:
        async for event in events:
            seq += 1
            if seq > (asked.since or 0) and asked.shows(event):
                told = json.dumps(event.as_json(seq), ensure_ascii=False, separators=(",", ":"))
                yield f"event: {event.method}\r\ndata: {told}\r\nid: {seq}\r\n\r\n"
