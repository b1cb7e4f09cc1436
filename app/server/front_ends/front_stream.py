"""The stream of a run for a front end, made from the log: the same for the first reader and for any later one."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Protocol

from agent_runner.app.server.agent_server.streams.frames import BEFORE_ALL, METADATA, Position, position_of
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.front_ends.front_runs import FrontRuns
from agent_runner.app.server.front_ends.happened import Reading
from agent_runner.app.server.front_ends.happenings import Happening, Over
from agent_runner.app.server.log_feed.follow import Quiet, Updates, follow
from agent_runner.app.server.problems import Problem, internal, of_exception
from agent_runner.status.event_logger import event_logger
from agent_runner.status.log.log import LogRow
from agent_runner.status.store.records import Execution

PING = ": ping\n\n"
ENDED = ": end\n\n"
"""The last line of every stream that was told to its end: parsers skip it, and one that reconnects knows."""
UNTOLD = ""
"""A frame that this reader does not need; it has its number, so that all others have theirs."""
log = event_logger(__name__)


class Dialect(Protocol):
    """A protocol's way to tell what happens. Its frames are the data of server-sent events, as JSON."""

    headers: Mapping[str, str]
    last: str
    """What a stream ends with, after the last frame."""

    def begin(self) -> Iterator[str]: ...

    def told(self, happening: Happening, at: float) -> Iterator[str]:
        """`at`: epoch seconds of the row."""

    async def over(self, over: Over, at: float) -> list[str]:
        """The frames of the end; they may need to read more than the log of this run."""

    def refused(self, problem: Problem) -> str:
        """The stream cannot go on."""


def position_after(last_event_id: str) -> Position:
    """Where a reader goes on; at the beginning without an id. Raises OUT_OF_RANGE."""
    return position_of(last_event_id) if last_event_id else BEFORE_ALL


async def front_frames(
    ctx: ServerContext, execution: Execution, after: Position, dialect: Dialect, *, theirs: frozenset[str] = frozenset()
) -> AsyncGenerator[str, None]:
    """The frames after this position, one text per page of rows. Ends with the run.

    The log is read from its beginning for every reader: what is open at a position follows from the rows before it.
    """
    reading = Reading(theirs)
    try:
        if first := _framed(list(dialect.begin()), METADATA.seq, after):
            yield first
        async with aclosing(follow(ctx, execution.id, 0)) as followed:
            async for one in followed:
                if isinstance(one, Updates):
                    texts = [_framed(await _of(row, reading, dialect), row.seq, after) for row in one.rows]
                    if told := "".join(texts):
                        yield told
                elif isinstance(one, Quiet):
                    yield PING
        yield dialect.last + ENDED
    except Exception as error:
        problem = of_exception(error)
        if problem is None:
            log.exception("stream.failed", execution_id=execution.id)
            problem = internal()
        yield f"data: {dialect.refused(problem)}\n\n"


async def _of(row: LogRow, reading: Reading, dialect: Dialect) -> list[str]:
    told: list[str] = []
    for happening in reading.of(row):
        if isinstance(happening, Over):
            told += await dialect.over(happening, row.at)
        else:
            told += dialect.told(happening, row.at)
    return told


def _framed(frames: list[str], seq: int, after: Position) -> str:
    """Those after the position, each with its id."""
    placed = ((Position(seq=seq, place=number), data) for number, data in enumerate(frames))
    return "".join(f"id: {place}\ndata: {data}\n\n" for place, data in placed if data and place > after)


async def watched(
    chunks: AsyncGenerator[str, None], ctx: ServerContext, runs: FrontRuns, execution_id: str, *, cancels: bool
) -> AsyncGenerator[str, None]:
    """The chunks. `cancels`: the run is cancelled if its reader goes away before its end."""
    whole = False
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
        whole = True
    finally:
        if cancels and not whole:
            ctx.soon(_left(runs, execution_id))


async def _left(runs: FrontRuns, execution_id: str) -> None:
    try:
        await runs.left(execution_id)
    except Problem as problem:
        log.debug("request.refused", method="", path="on_disconnect", code=problem.code, cause=problem.detail)
