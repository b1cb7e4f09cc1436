"""`/v1/ai-sdk/{agent}`: chats of Vercel's AI SDK (`useChat` with `DefaultChatTransport`)."""

import asyncio
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.front_ends.ai_sdk_chunks import UiMessage
from agent_runner.app.server.front_ends.ai_sdk_input import asked_of, chat_of
from agent_runner.app.server.front_ends.front_answers import (
    CANCELLED,
    FrontAnswers,
    LastEventId,
    RunId,
    address,
    frames_of,
)
from agent_runner.app.server.front_ends.front_paths import AI_SDK
from agent_runner.app.server.front_ends.front_runs import noted_of
from agent_runner.app.server.front_ends.happenings import Json
from agent_runner.app.server.http.document.front_end_schemas import AI_SDK_FORM
from agent_runner.app.server.http.document.schemas import STRING, body_of
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.phases import TERMINAL_PHASES
from agent_runner.status.store.records import Execution

Responses = dict[int | str, dict[str, Any]]
_CHUNK = {"type": "object", "required": ["type"], "properties": {"type": STRING}}
_CHUNKS: Responses = {200: frames_of("chunks of a UI message stream", _CHUNK, last="[DONE]")}
_RESUMED: Responses = {**_CHUNKS, 204: {"description": "no run of this chat is open"}}


def ai_sdk_routes(edges: Edges, metrics: Metrics) -> RouteGroup:
    do, routes = AiSdkHandlers(FrontAnswers(edges, metrics)), RouteGroup(prefix=AI_SDK, tags=["front ends"])
    add, one = routes.add_api_route, "/{agent}/{chat_id}"
    add("/{agent}", do.send, methods=["POST"], openapi_extra=body_of(AI_SDK_FORM), response_class=StreamingResponse,
        responses=_CHUNKS)  # fmt: skip
    add(f"{one}/stream", do.resume, methods=["GET"], response_class=StreamingResponse, responses=_RESUMED)
    add(f"{one}/cancel", do.cancel, methods=["POST"], status_code=202, responses={202: CANCELLED})
    return routes


class AiSdkHandlers:
    def __init__(self, answers: FrontAnswers) -> None:
        self._answers, self._runs = answers, answers.runs

    async def send(self, request: Request, agent: str, last_event_id: LastEventId = "") -> Response:
        """The answer to the last message of a chat. The same message again is the same run, unless it is to be
        answered anew (`regenerate-message`) or was edited (`messageId`)."""
        with self._answers.place() as place:
            body = await self._answers.body(request)
            chat, messages = chat_of(body)
            asked = await asked_of(chat, messages, body, self._runs)
            execution, cancels = await self._runs.find(chat, asked.run_id) if asked.repeatable else None, False
            if execution is None:
                execution, cancels = await self._answers.started(agent, chat, asked)
            return self._stream(place, execution, agent, chat, last_event_id, goes_on=True, cancels=cancels)

    async def resume(self, agent: str, chat_id: str, run_id: RunId = "", last_event_id: LastEventId = "") -> Response:
        """The stream of the chat's open run, from its beginning or after Last-Event-ID; 204 if none is open. With
        `run_id` that run, open or not."""
        with self._answers.place() as place:
            execution = await self._runs.find(chat_id, run_id)
            if execution is None or (execution.phase in TERMINAL_PHASES and not run_id):
                return Response(status_code=204)
            return self._stream(place, execution, agent, chat_id, last_event_id, goes_on=bool(last_event_id))

    async def cancel(self, agent: str, chat_id: str) -> Response:
        """Cancels the open runs of the chat."""
        return await self._answers.cancelled(chat_id)

    def _stream(
        self,
        place: ExitStack,
        execution: Execution,
        agent: str,
        chat: str,
        last_event_id: str,
        *,
        goes_on: bool,
        cancels: bool = False,
    ) -> Response:
        """`goes_on`: the page has what was in the message before; else it begins the message anew."""
        noted = noted_of(execution)
        again = f"{address(AI_SDK, agent, chat)}/stream?run_id={quote(str(noted.get('run_id') or ''), safe='')}"
        dialect = self._dialect(execution, noted, goes_on=goes_on)
        return self._answers.stream(place, execution, dialect, last_event_id, again, cancels=cancels)

    def _dialect(self, execution: Execution, noted: Json, *, goes_on: bool) -> UiMessage:
        async def conversation() -> list[Json]:
            messages_of = await asyncio.to_thread(_history)
            told = await messages_of(self._answers.ctx, execution.session_id, execution.handle, whole=True)
            return [one.model_dump(by_alias=True) for one in told]

        facts = {"execution_id": execution.id, "session_id": execution.session_id}
        denied = frozenset(noted.get("denied") or ())
        known = frozenset(noted.get("open_calls") or ()) if goes_on and noted.get("answer_id") else frozenset()
        return UiMessage(
            str(noted.get("answer_id") or execution.id), facts, conversation, denied=denied, known_calls=known
        )


def _history() -> Any:
    """The conversation's form is AG-UI's. Its library is imported when somebody needs it (see `agui_routes.py`)."""
    from agent_runner.app.server.front_ends.agui.agui_history import messages_of

    return messages_of
