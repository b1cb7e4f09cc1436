"""Our loggers: each line is an event of the table in `log_events.py`, with fields.

An event goes to the standard library's logging as an ordinary record. Its message is the readable text, so that every
handler can show it. Its name and fields are attributes of the record, for the formatter of `logs.py`. That formatter
also adds the fields of `bound` to every line of a run or a request, including lines of other libraries.

There is no library between us and the standard library's logging: structlog brings rich and pygments with it, which
cost each process of a stack 5 MiB for as long as it lives.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from agent_runner.status.log_events import LOG_EVENTS, LogEvent

NAME, FIELDS = "event_name", "event_fields"
"""The attributes of a record that hold the event's name (str) and its fields (dict)."""
BLOCKS = ("stack",)
"""Multi-line fields: text logs show them below the line."""
Plain = str | int | float | bool | None

_PLAIN_WORD = re.compile(r"[^ \"=\\]+")
_bound: ContextVar[Mapping[str, Plain]] = ContextVar("agent_runner_log_fields", default={})  # noqa: B039 - never changed
_mask: ContextVar[Callable[[str], str] | None] = ContextVar("agent_runner_log_mask", default=None)


class EventLogger:
    """Each verb takes an event of the table and its fields; `exc_info` as the standard library's loggers take it."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, event, {"exc_info": True, **fields})

    def critical(self, event: str, **fields: Any) -> None:
        self._log(logging.CRITICAL, event, fields)

    def _log(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        exc_info = fields.pop("exc_info", None)
        plain = {key: _plain(value) for key, value in fields.items()}
        # `stacklevel`: the record's place is that of the caller of the verb.
        text = _Text(LOG_EVENTS[event], plain)
        self._logger.log(level, text, exc_info=exc_info, extra={NAME: event, FIELDS: plain}, stacklevel=3)


class _Text:
    """The text of an event for handlers of others. Our formatter makes it again from the masked fields."""

    __slots__ = ("_event", "_fields")

    def __init__(self, event: LogEvent, fields: Mapping[str, Plain]) -> None:
        self._event, self._fields = event, fields

    def __str__(self) -> str:
        return event_text(self._event.name, self._fields) + blocks(self._fields)


def event_logger(name: str) -> EventLogger:
    """`event_logger(__name__).info("worker.ready", queue=...)`. Raises KeyError for an event that is not in the table.

    Nothing is printed before `set_up_logging`.
    """
    return EventLogger(name)


@contextmanager
def bound(*, alone: bool = False, **fields: Plain) -> Iterator[None]:
    """Every line of this task, and of the tasks and threads that it starts, has these fields until the block ends.

    Fields that are bound inside end with the block, too. `alone`: fields that were bound before do not hold inside.
    """
    before = _bound.get()
    _bound.set(dict(fields) if alone else {**before, **fields})
    try:
        yield
    finally:
        _bound.set(before)  # no token: a generator may end in another context than it began in


def bind(**fields: Plain) -> None:
    """Adds fields until the `bound` block around this call ends, or else this task. Empty values are left out."""
    _bound.set({**_bound.get(), **{name: value for name, value in fields.items() if value not in ("", None)}})


def bound_fields() -> Mapping[str, Plain]:
    """The fields that lines of this task have now."""
    return _bound.get()


@contextmanager
def masked_by(mask: Callable[[str], str]) -> Iterator[None]:
    """Every line of this task goes through `mask` before it is written, including those of graphs and libraries."""
    token = _mask.set(mask)
    try:
        yield
    finally:
        _mask.reset(token)


def current_mask() -> Callable[[str], str] | None:
    return _mask.get()


def sentence(name: str, fields: Mapping[str, Plain]) -> str:
    """The readable text of an event, one line."""
    event = LOG_EVENTS[name]
    shown_in_it = {key: str(fields[key]).replace("\n", "\\n") for key in event.in_text if key in fields}
    return event.text.format_map(shown_in_it)


def event_text(name: str, fields: Mapping[str, Plain]) -> str:
    """The sentence, followed by the fields that it does not show."""
    held = LOG_EVENTS[name].in_text
    return sentence(name, fields) + pairs({key: value for key, value in fields.items() if key not in held})


def pairs(fields: Mapping[str, Plain]) -> str:
    """` name=value name=value`, without the blocks."""
    return "".join(f" {name}={shown(value)}" for name, value in fields.items() if name not in BLOCKS)


def blocks(fields: Mapping[str, Plain]) -> str:
    """The multi-line fields; each starts on a new line."""
    return "".join(f"\n{fields[name]}" for name in BLOCKS if fields.get(name))


def shown(value: Plain) -> str:
    """A field's value in a text line: quoted if it could look like more than one value."""
    if type(value) is int or (isinstance(value, str) and value.isprintable() and _PLAIN_WORD.fullmatch(value)):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _plain(value: object) -> Plain:
    """Half characters (a file's name that is not UTF-8) are written out: a handler that writes UTF-8 refuses them."""
    if value is None or isinstance(value, int | float | bool):
        return value
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
