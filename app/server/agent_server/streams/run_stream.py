"""The stream of a run, made from the rows of its execution's log: the same for the first reader and for any later one.

A reader that comes back with the id of its last event gets exactly the rest, as long as the log is kept. The run's row
is final before the stream closes; a failure is one `error` event.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agent_runner.app.server.agent_server.streams.frames import METADATA, Position, frame, framed
from agent_runner.app.server.agent_server.streams.message_texts import MessageTexts
from agent_runner.app.server.agent_server.streams.run_end import run_end
from agent_runner.app.server.agent_server.uuids import run_uuid
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.log_feed.follow import Snapshot, Updates, follow
from agent_runner.app.server.log_feed.log_ends import End
from agent_runner.app.server.problems import internal, of_exception
from agent_runner.status.event_logger import event_logger
from agent_runner.status.log.log import LogRow
from agent_runner.status.log.stream.message_pieces import Piece, pieces_in
from agent_runner.status.log.stream.stream_parts import OVER, STREAM
from agent_runner.status.phases import Phase
from agent_runner.status.requests.run_request import MESSAGES
from agent_runner.status.store.records import Execution

TUPLES = "messages-tuple"
log = event_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """What a reader sees of a run. `modes`: those that the run was asked for; `only`: the reader's choice."""

    modes: frozenset[str]
    only: frozenset[str] = frozenset()

    def shows(self, mode: str) -> bool:
        return not self.only or mode in self.only

    @property
    def shows_metadata(self) -> bool:
        return not self.only

    @property
    def adds_up(self) -> bool:
        """Messages are shown as they are so far, and not chunk by chunk."""
        return MESSAGES in self.modes and TUPLES not in self.modes and self.shows(MESSAGES)


def view_of(modes: Sequence[str], only: Sequence[str] = ()) -> StreamView:
    return StreamView(modes=frozenset(modes), only=frozenset(only))


async def run_frames(
    ctx: ServerContext, execution: Execution, after: Position, view: StreamView, made: Snapshot | None = None
) -> AsyncGenerator[str, None]:
    """The events after this position, one text per page of rows. Ends with the run. `made` as in `follow`."""
    events = _Events(view)
    try:
        if after < METADATA and view.shows_metadata:
            yield frame("metadata", {"run_id": run_uuid(execution.id), "attempt": max(1, execution.attempt)}, METADATA)
        begin = _begin(execution, after, view)
        async with aclosing(follow(ctx, execution.id, begin, made)) as followed:
            async for one in followed:
                match one:
                    case Updates():
                        told = "".join(
                            text for row in one.rows for place, text in events.of(row) if place > after and text
                        )
                        if told:
                            yield told
                    case End():
                        if one.phase is Phase.FAILED:
                            yield await _error(ctx, execution.id, Position(seq=one.seq), after)
                        return
    except Exception as error:
        problem = of_exception(error)
        if problem is None:
            log.exception("stream.failed", execution_id=execution.id)
            problem = internal()
        told_of = {"error": problem.kind.grpc_code, "message": problem.detail}
        yield frame("error", {**told_of, "code": problem.code, "next_step": problem.next_step})


def _begin(execution: Execution, after: Position, view: StreamView) -> int:
    """The row of the log behind which the events are that this reader gets."""
    if execution.fence == 0 and after <= METADATA:
        return execution.last_seq  # nobody has run it yet
    # Messages that are added up begin before the reader's position.
    return 0 if view.adds_up else max(0, after.seq - 1)


async def _error(ctx: ServerContext, execution_id: str, position: Position, after: Position) -> str:
    ended = await ctx.store.get(execution_id)
    if ended is None or position <= after:
        return ""
    return frame("error", (await run_end(ctx, ended)).error, position)


def _message_parts() -> Any:
    """LangChain is imported only for the mode that needs it."""
    from agent_runner.app.server.agent_server.streams.message_parts import MessageParts

    return MessageParts()


class _Events:
    """The events in rows of a log, in order."""

    def __init__(self, view: StreamView) -> None:
        self._view = view
        self._messages = _message_parts() if view.adds_up else None
        self._tuples = TUPLES in view.modes and (view.shows(TUPLES) or view.shows(MESSAGES))
        self._texts = MessageTexts()

    def of(self, row: LogRow) -> Iterator[tuple[Position, str]]:
        if row.kind != STREAM:
            return
        for number, (part, namespace, data) in enumerate(pieces_in(row.payload)):
            if part == MESSAGES and self._tuples:
                position = Position(seq=row.seq, place=2 * number)
                yield position, framed(f"messages{_within(namespace)}", self._texts.of(data), position)
                continue
            for place, (event, shown) in enumerate(self._shown(part, namespace, data)):
                position = Position(seq=row.seq, place=2 * number + place)
                yield position, frame(event, shown, position)

    def _shown(self, part: str, namespace: Sequence[str], data: Any) -> Iterator[tuple[str, Any]]:
        if part == OVER:
            yield "limit", data
        elif part == MESSAGES:
            if self._messages is not None:
                yield from self._messages.feed(data.data() if isinstance(data, Piece) else data)
        elif part in self._view.modes and self._view.shows(part):
            yield f"{part}{_within(namespace)}", data


def _within(namespace: Sequence[str]) -> str:
    return "".join(f"|{one}" for one in namespace)
