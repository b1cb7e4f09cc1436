"""Logging of every process: text or JSON lines, the same for our own lines and those of every library."""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NoReturn

from agent_runner.clients.process.env_file_lines import told_of_env_file
from agent_runner.status.event_logger import (
    FIELDS,
    NAME,
    blocks,
    bound_fields,
    current_mask,
    event_logger,
    event_text,
    pairs,
    sentence,
)
from agent_runner.status.log_events import CONTEXT_FIELDS
from agent_runner.status.visible_text import visible

QUIET = {
    "grpc": logging.WARNING,
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "anthropic": logging.INFO,
    "openai": logging.INFO,
    "aiosqlite": logging.INFO,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "kombu": logging.INFO,
    "amqp": logging.INFO,
    "urllib3": logging.INFO,
}
"""Other people's noise, and the lowest level that is wanted of it."""
log = event_logger(__name__)
_FORMATTER = logging.Formatter()


def set_up_logging(level: str, log_format: str) -> None:
    """`level` and `log_format` ("text" or "json") as in the settings. Logs go to stderr: stdout is for results."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, lowest in QUIET.items():
        logging.getLogger(name).setLevel(max(lowest, root.level))
    for line in told_of_env_file():
        log.info("env_file.read", line=line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one line says. `name` is empty for a line of a library, `message` for an event of ours."""

    record: logging.LogRecord
    name: str
    message: str
    fields: Mapping[str, Any]
    context: Mapping[str, Any]
    """The fields of the run or request that it belongs to."""
    traceback: str


class LineFormatter(logging.Formatter):
    """Every line, ours or a library's: collect the fields, mask, write."""

    def __init__(self, write: Callable[[Line], str]) -> None:
        super().__init__()
        self._write = write

    def format(self, record: logging.LogRecord) -> str:
        return self._write(_masked(_gathered(record)))


def formatter(log_format: str) -> LineFormatter:
    """`text` or `json`."""
    return LineFormatter(_as_json if log_format == "json" else _as_text)


def _gathered(record: logging.LogRecord) -> Line:
    name = getattr(record, NAME, "")
    own: dict[str, Any] = getattr(record, FIELDS, {})
    around = bound_fields()
    return Line(
        record=record,
        name=name,
        # The text of an event is made again from its masked fields: a mask would miss a secret that is quoted there.
        message="" if name else record.getMessage(),
        fields=own,
        context={name: around[name] for name in CONTEXT_FIELDS if name in around and name not in own},
        traceback=_FORMATTER.formatException(record.exc_info) if record.exc_info else "",
    )


def _masked(line: Line) -> Line:
    mask = current_mask()
    if mask is None:
        return line
    fields = {name: mask(value) if isinstance(value, str) else value for name, value in line.fields.items()}
    return replace(line, message=mask(line.message), traceback=mask(line.traceback), fields=fields)


def _as_text(line: Line) -> str:
    """One line per record. Text from tools and models cannot move the reader's cursor."""
    at = _FORMATTER.formatTime(line.record)
    says = f"{line.name} {event_text(line.name, line.fields)}" if line.name else line.message
    below = blocks(line.fields) + (f"\n{line.traceback}" if line.traceback else "")
    return visible(f"{at} {line.record.levelname:7} {line.record.name}: {says}{pairs(line.context)}{below}")


def _as_json(line: Line) -> str:
    """One object per line: at, level, logger, event (of our own lines), message, fields, and the traceback if any."""
    said = {
        "at": datetime.fromtimestamp(line.record.created, UTC).isoformat(timespec="milliseconds"),
        "level": line.record.levelname,
        "logger": line.record.name,
        **({"event": line.name} if line.name else {}),
        "message": sentence(line.name, line.fields) if line.name else line.message,
        **line.context,
        **line.fields,
        **({"traceback": line.traceback} if line.traceback else {}),
    }
    return json.dumps(said, ensure_ascii=False)


def end_process(code: int) -> NoReturn:
    """Ends the process at once, after what was logged and printed is written. Python's own clean-up is left out."""
    logging.shutdown()
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)
