"""`GET /threads/{thread_id}/stream`: the events of all runs of a thread, of those that begin later too."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agent_runner.app.server.agent_server.runs.run_service import RunService
from agent_runner.app.server.agent_server.streams.frames import (
    BEFORE_ALL,
    FROM_THE_START,
    Position,
    frame,
    position_of,
)
from agent_runner.app.server.agent_server.streams.run_stream import run_frames, view_of
from agent_runner.app.server.agent_server.streams.thread_runs import runs_of_thread
from agent_runner.app.server.agent_server.uuids import run_uuid, thread_uuid
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.store.records import Execution

RUN_MODES, LIFECYCLE, STATE_UPDATE = "run_modes", "lifecycle", "state_update"
STREAM_MODES = frozenset({RUN_MODES, LIFECYCLE, STATE_UPDATE})
DONE = Position(seq=10**10 - 1)
"""The position of the event that tells the end of a run."""
_ID = re.compile(r"^(\d{1,18})\.(.+)$")
ID_PATTERN = "^(-|[0-9]{1,18}\\.[0-9]{1,18}(-[0-9]{1,9})?)?$"
_BEGIN = re.compile(r"event: metadata\r\n.*?\r\n\r\n", re.DOTALL)
"""The event that names a run, at the beginning of its stream."""
_LINE = re.compile(r"^id: (.*)\r$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPosition:
    """An event of a thread: the run by its handle, and the event's place in the run."""

    handle: int
    place: Position

    def __str__(self) -> str:
        return f"{self.handle:012d}.{self.place}"


def thread_position(last_event_id: str) -> ThreadPosition:
    """Raises UNPROCESSABLE for what was never the id of an event."""
    if last_event_id in FROM_THE_START[1:]:
        return ThreadPosition(handle=0, place=BEFORE_ALL)
    if (found := _ID.match(last_event_id)) is None:
        raise Problem(
            Kind.UNPROCESSABLE,
            f"Last-Event-ID: {last_event_id[:40]!r} is not the id of an event of a thread",
            next_step="Send the id of the last event that was read, or - for all.",
        )
    return ThreadPosition(handle=int(found[1]), place=position_of(found[2]))


async def thread_frames(
    ctx: ServerContext, session_id: str, after: ThreadPosition, modes: frozenset[str]
) -> AsyncGenerator[str, None]:
    """Never ends by itself."""
    changes = _Changes(ctx, session_id) if STATE_UPDATE in modes else None
    if changes is not None:
        await changes.news()
    async with aclosing(runs_of_thread(ctx, session_id, after.handle - 1)) as runs:
        async for run in runs:
            if changes is not None and (told := await changes.news()):
                yield told
            if run is None:
                continue
            begin = after.place if run.handle == after.handle else BEFORE_ALL
            async for text in _of_run(ctx, run, begin, modes):
                yield text


async def _of_run(
    ctx: ServerContext, run: Execution, begin: Position, modes: frozenset[str]
) -> AsyncGenerator[str, None]:
    if begin >= DONE:
        return

    def placed(found: re.Match[str]) -> str:
        return f"id: {run.handle:012d}.{found[1]}\r"

    async with aclosing(run_frames(ctx, run, begin, view_of(RunService.modes_of(run)))) as frames:
        async for text in frames:
            if RUN_MODES in modes:
                yield _LINE.sub(placed, text)
            elif LIFECYCLE in modes and (first := _BEGIN.match(text)):
                yield _LINE.sub(placed, first[0])
    done = ThreadPosition(handle=run.handle, place=DONE)
    if LIFECYCLE in modes:
        told: dict[str, Any] = {"status": "run_done", "run_id": run_uuid(run.id)}
        yield frame("metadata", told).replace("\r\n\r\n", f"\r\nid: {done}\r\n\r\n")


class _Changes:
    """States that somebody wrote by hand (`POST /threads/{thread_id}/state`), from the first call on."""

    def __init__(self, ctx: ServerContext, session_id: str) -> None:
        self._ctx, self._session_id = ctx, session_id
        self._known: str | None = None

    async def news(self) -> str:
        """The event of a change since the call before; empty if there was none. It has no id: it is told to those who
        are there."""
        thread = await self._ctx.store.thread(self._session_id)
        if thread is None:
            return ""
        before, self._known = self._known, thread.head_checkpoint_id
        state = thread.known_state
        if before in (None, self._known) or state is None or (state.get("metadata") or {}).get("source") != "update":
            return ""
        return frame(STATE_UPDATE, {"state": state, "thread_id": thread_uuid(thread.session_id)})
