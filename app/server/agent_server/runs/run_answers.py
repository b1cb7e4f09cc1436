"""The long answers about runs: the stream of one, and the wait for its end."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import ExitStack, aclosing
from typing import Any

from fastapi.responses import Response

from agent_runner.app.server.agent_server.runs.run_service import Made, RunService
from agent_runner.app.server.agent_server.runs.run_view import has_ended
from agent_runner.app.server.agent_server.streams.frames import (
    BEFORE_ALL,
    HEADERS,
    MEDIA_TYPE,
    Position,
    frame,
    with_heartbeats,
)
from agent_runner.app.server.agent_server.streams.run_stream import run_frames, view_of
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.lasting import LastingResponse
from agent_runner.app.server.log_feed.follow import Snapshot
from agent_runner.app.server.problems import Problem
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.records import Execution

BLANK = "\n"
"""What keeps a waiting connection open: clients read JSON behind any number of these."""
NOT_FOUND = {"error": "HTTPException", "message": "404: Run not found"}
log = event_logger(__name__)


class RunAnswers:
    def __init__(self, edges: Edges, runs: RunService) -> None:
        self._ctx, self._runs = edges.ctx, runs
        self._streams = edges.ctx.gate.streams

    def place(self) -> ExitStack:
        """Counts the answer as an open stream until its end. Raises TOO_MANY."""
        place = ExitStack()
        place.enter_context(self._streams.one())
        return place

    def new_id(self, place: ExitStack) -> str:
        """The id for a run that this answer is to stream; see `Watchers.watch_new`."""
        return place.enter_context(self._ctx.watchers.watch_new())

    def stream(
        self,
        place: ExitStack,
        execution: Execution,
        after: Position,
        *,
        only: Sequence[str] = (),
        headers: dict[str, str] | None = None,
        cancels: bool = False,
        made: Snapshot | None = None,
    ) -> Response:
        """`cancels`: the run is cancelled when its reader goes away. `made` as in `follow`."""
        frames = run_frames(self._ctx, execution, after, view_of(self._runs.modes_of(execution), only), made)
        chunks = self._watched(with_heartbeats(frames), execution.id, cancels=cancels)
        told = {**HEADERS, **(headers or {})}
        return LastingResponse(place.pop_all(), chunks, media_type=MEDIA_TYPE, headers=told)

    def stream_new(self, place: ExitStack, new: Made) -> Response:
        cancels = new.asked.on_disconnect == "cancel"
        told: dict[str, Any] = {"headers": new.places("stream"), "cancels": cancels, "made": new.content}
        return self.stream(place, new.execution, BEFORE_ALL, **told)

    def wait_for_new(self, place: ExitStack, new: Made) -> Response:
        cancels = new.asked.on_disconnect == "cancel"
        return self.wait(place, new.execution, headers=new.places("join"), cancels=cancels)

    def empty_stream(self, place: ExitStack) -> Response:
        """Of a run that is not there: one event that says so."""

        async def told() -> AsyncIterator[str]:
            yield frame("error", NOT_FOUND)

        return LastingResponse(place.pop_all(), told(), media_type=MEDIA_TYPE, headers=dict(HEADERS))

    def wait(
        self, place: ExitStack, execution: Execution, *, headers: dict[str, str] | None = None, cancels: bool = False
    ) -> Response:
        """The last values of the run, once it has ended."""

        async def answer() -> AsyncGenerator[str, None]:
            yield json.dumps((await self._runs.end(execution)).answer(), ensure_ascii=False)

        chunks = self._watched(with_heartbeats(answer(), BLANK), execution.id, cancels=cancels)
        return LastingResponse(place.pop_all(), chunks, media_type="application/json", headers=headers)

    async def _watched(
        self, chunks: AsyncGenerator[str, None], execution_id: str, *, cancels: bool
    ) -> AsyncGenerator[str, None]:
        whole = False
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
            whole = True
        finally:
            if cancels and not whole:
                self._ctx.soon(self._left(execution_id))

    async def _left(self, execution_id: str) -> None:
        """The reader of a run went away, and the run was to end with that."""
        try:
            found = await self._runs.found(execution_id)
            if found is not None and not has_ended(found):
                await self._runs.cancel(found, action="interrupt")
        except Problem as problem:
            log.debug("request.refused", method="", path="on_disconnect", code=problem.code, cause=problem.detail)


def join_error() -> dict[str, Any]:
    return {"__error__": NOT_FOUND}
