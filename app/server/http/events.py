"""The event stream of an execution: `snapshot` | `update`... | `end`, or `error`; `: ping` when nothing happens."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.executions.view import execution_json
from agent_runner.app.server.http.large_json import json_text
from agent_runner.app.server.log_feed.follow import Followed, Quiet, Snapshot, Updates, follow, unknown_position
from agent_runner.app.server.log_feed.log_ends import End, phase_of
from agent_runner.app.server.problems import Problem, internal, of_exception
from agent_runner.status.event_logger import event_logger
from agent_runner.status.log.log import LogRow, rfc3339

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
PING = ": ping\n\n"
log = event_logger(__name__)


async def event_stream(
    ctx: ServerContext, execution_id: str, last_event_id: str | None, made: Snapshot | None = None
) -> AsyncGenerator[str, None]:
    """The text for the client, one string per page of rows. Ends after `end` or `error`. `made` as in `follow`."""
    try:
        after = await _position(ctx, execution_id, last_event_id)
        async with aclosing(follow(ctx, execution_id, after, made)) as events:
            async for event in events:
                yield await _written(event)
    except Exception as error:
        problem = of_exception(error)
        if problem is None:
            log.exception("stream.failed", execution_id=execution_id)
            problem = internal()
        yield _error(problem)


async def _position(ctx: ServerContext, execution_id: str, last_event_id: str | None) -> int | None:
    if not last_event_id:
        return None
    if last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19:
        return int(last_event_id)
    execution = await ctx.store.get(execution_id)
    raise unknown_position(last_event_id[:40], execution.last_seq if execution else 0)


async def _written(event: Followed) -> str:
    match event:
        case Snapshot():
            shown = {"seq": event.seq, "execution": execution_json(event.execution, event.state)}
            return _framed("snapshot", event.seq, await json_text(shown))
        case Updates():
            return event.rows.once(_updates)
        case End():
            end = {"seq": event.seq, "phase": event.phase.wire_name, "error_code": event.error_code}
            return _event("end", event.seq, end)
        case Quiet():
            return PING


def _updates(rows: Sequence[LogRow]) -> str:
    return "".join(_framed("update", row.seq, _row(row)) for row in rows)


def _row(row: LogRow) -> str:
    """The JSON of a row. The payload's text is written through as the worker made it, if it is one line."""
    phase = phase_of(row)
    last = f',"phase":{_json(phase.wire_name)}' if phase else ""
    payload = row.text if row.text and row.text.isprintable() else _json(row.payload)
    at, kind = _json(rfc3339(row.at)), _json(row.kind)
    return f'{{"seq":{row.seq},"at":{at},"fence":{row.fence},"kind":{kind},"payload":{payload}{last}}}'


def _event(name: str, seq: int, data: dict[str, Any]) -> str:
    return _framed(name, seq, _json(data))


def _framed(name: str, seq: int, data: str) -> str:
    return f"id: {seq}\nevent: {name}\ndata: {data}\n\n"


def _error(problem: Problem) -> str:
    """It has no id, so the client's position does not change."""
    return f"event: error\ndata: {_json(problem.as_json())}\n\n"


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
