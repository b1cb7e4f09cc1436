"""Server-sent events as clients of this API read them, and the ids that make a stream resumable from every event."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from agent_runner.app.server.problems import Kind, Problem

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
HEARTBEAT = ": heartbeat\r\n\r\n"
EVERY_S = 5.0
"""Clients measure the distance of heartbeats and give up when they stop, so they come whatever else is sent."""
FROM_THE_START = ("-1", "-")
json_of = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ID = re.compile(r"^(\d{1,18})(?:-(\d{1,9}))?$")
ID_PATTERN = "^(-1?|[0-9]{1,18}(-[0-9]{1,9})?)?$"
"""The same for the description, with what means the beginning; without an id it is "from now on"."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Position:
    """An event: the row of the log that it comes from, and its place in that row. It grows from event to event, also
    when it is compared as text."""

    seq: int
    place: int = 0

    def __str__(self) -> str:
        return f"{self.seq:010d}-{self.place:05d}"


BEFORE_ALL, METADATA = Position(seq=-1), Position(seq=0)
"""METADATA is the position of the first event, which names the run."""


def position_of(last_event_id: str) -> Position:
    """Raises OUT_OF_RANGE for what was never the id of an event."""
    if last_event_id in FROM_THE_START:
        return BEFORE_ALL
    if (found := _ID.match(last_event_id)) is None:
        raise Problem(
            Kind.OUT_OF_RANGE,
            f"Last-Event-ID: {last_event_id[:40]!r} is not the id of an event",
            next_step="Send the id of the last event that was read, or -1 for the whole stream.",
        )
    return Position(seq=int(found[1]), place=int(found[2] or 0))


def place_after(last_event_id: str, last_seq: int) -> Position:
    """Where a reader goes on: after that event; without one, behind all that the log has now."""
    return position_of(last_event_id) if last_event_id else Position(seq=last_seq, place=1 << 30)


def frame(event: str, data: Any, position: Position | None = None) -> str:
    """One event. Without a position the client's place in the stream does not change."""
    return framed(event, json_of(data), position)


def framed(event: str, told: str, position: Position | None = None) -> str:
    """One event, whose data are JSON already."""
    place = f"id: {position}\r\n" if position is not None else ""
    return f"event: {event}\r\ndata: {told}\r\n{place}\r\n"


def headers_of(place: Mapping[str, str]) -> dict[str, str]:
    return {**HEADERS, **place}


async def with_heartbeats(
    chunks: AsyncGenerator[str, None], beat: str = HEARTBEAT, every_s: float = EVERY_S
) -> AsyncGenerator[str, None]:
    """The chunks, and a heartbeat every few seconds."""
    due = time.monotonic() + every_s
    following: asyncio.Future[str] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(chunks))
            await asyncio.wait({following}, timeout=max(0.0, due - time.monotonic()))
            if time.monotonic() >= due:
                yield beat
                due = time.monotonic() + every_s
            if following.done():
                try:
                    chunk = following.result()
                except StopAsyncIteration:
                    return
                following = None
                yield chunk
    finally:
        if following is not None and not following.done():
            following.cancel()
            await asyncio.wait({following})
        await chunks.aclose()
