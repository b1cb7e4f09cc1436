"""Logging of every process: text or JSON lines, the same for our own lines and those of every library."""

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from structlog.contextvars import get_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from agent_runner.clients.settings.environment import told_of_env_file
from agent_runner.status.event_logger import (
    FIELDS,
    NAME,
    blocks,
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


def formatter(log_format: str) -> logging.Formatter:
    """The formatter of every line, ours or a library's: collect the fields, mask, write."""
    return ProcessorFormatter(processors=[_gathered, _masked, _as_json if log_format == "json" else _as_text])


def _gathered(_: Any, method: str, event: EventDict) -> EventDict:
    """Of a record: its message, the name of its event, and the fields of the run or request that it belongs to."""
    record: logging.LogRecord = event["_record"]
    exc_info = event.get("exc_info")
    name = getattr(record, NAME, "")
    own: dict[str, Any] = getattr(record, FIELDS, {})
    around = get_contextvars()
    return {
        "record": record,
        "name": name,
        # The text of an event is made again from its masked fields: a mask would miss a secret that is quoted there.
        "message": "" if name else event["event"],
        "fields": own,
        "context": {name: around[name] for name in CONTEXT_FIELDS if name in around and name not in own},
        "traceback": logging.Formatter().formatException(exc_info) if exc_info else "",
    }


def _masked(_: Any, method: str, event: EventDict) -> EventDict:
    mask = current_mask()
    if mask is None:
        return event
    texts = {name: mask(event[name]) for name in ("message", "traceback")}
    return {**event, **texts, "fields": {name: _text_masked(mask, value) for name, value in event["fields"].items()}}


def _text_masked(mask: Callable[[str], str], value: Any) -> Any:
    return mask(value) if isinstance(value, str) else value


def _as_text(_: Any, method: str, event: EventDict) -> str:
    """One line per record. Text from tools and models cannot move the reader's cursor."""
    record, fields = event["record"], event["fields"]
    at = logging.Formatter().formatTime(record)
    says = f"{event['name']} {event_text(event['name'], fields)}" if event["name"] else event["message"]
    below = blocks(fields) + (f"\n{event['traceback']}" if event["traceback"] else "")
    return visible(f"{at} {record.levelname:7} {record.name}: {says}{pairs(event['context'])}{below}")


def _as_json(_: Any, method: str, event: EventDict) -> str:
    """One object per line: at, level, logger, event (of our own lines), message, fields, and the traceback if any."""
    record: logging.LogRecord = event["record"]
    line = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        **({"event": event["name"]} if event["name"] else {}),
        "message": sentence(event["name"], event["fields"]) if event["name"] else event["message"],
        **event["context"],
        **event["fields"],
        **({"traceback": event["traceback"]} if event["traceback"] else {}),
    }
    return json.dumps(line, ensure_ascii=False)


def end_process(code: int) -> NoReturn:
    """Ends the process at once, after what was logged and printed is written. Python's own clean-up is left out."""
    logging.shutdown()
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)
