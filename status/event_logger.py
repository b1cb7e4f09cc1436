"""Our loggers: each line is an event of the table in `log_events.py`, with fields.

An event goes to the standard library's logging as an ordinary record. Its message is the readable text, so that every
handler can show it. Its name and fields are attributes of the record, for the formatter of `logs.py`. That formatter
also adds the fields of `bound` to every line of a run or a request, including lines of other libraries.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from agent_runner.status.log_events import LOG_EVENTS

NAME, FIELDS = "event_name", "event_fields"
"""The attributes of a record that hold the event's name (str) and its fields (dict)."""
BLOCKS = ("stack",)
"""Multi-line fields: text logs show them below the line."""
Plain = str | int | float | bool | None

_mask: ContextVar[Callable[[str], str] | None] = ContextVar("agent_runner_log_mask", default=None)


def event_logger(name: str) -> structlog.stdlib.BoundLogger:
    """`event_logger(__name__).info("worker.ready", queue=...)`. Raises KeyError for an event that is not in the table.

    Nothing is printed before `set_up_logging`, and no global setting of structlog is used or changed.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, _as_record],
        cache_logger_on_first_use=True,
    )
    return cast(structlog.stdlib.BoundLogger, logger)


@contextmanager
def bound(*, alone: bool = False, **fields: Plain) -> Iterator[None]:
    """Every line of this task, and of the tasks and threads that it starts, has these fields until the block ends.

    Fields that are bound inside end with the block, too. `alone`: fields that were bound before do not hold inside.
    """
    before = get_contextvars()
    if alone:
        clear_contextvars()
    bind_contextvars(**fields)
    try:
        yield
    finally:
        clear_contextvars()
        bind_contextvars(**before)


def bind(**fields: Plain) -> None:
    """Adds fields until the `bound` block around this call ends, or else this task. Empty values are left out."""
    bind_contextvars(**{name: value for name, value in fields.items() if value not in ("", None)})


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


def _as_record(_: Any, method: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """The arguments for the standard library's logger."""
    name = event.pop("event")
    exc_info = event.pop("exc_info", None)
    fields = {key: _plain(value) for key, value in event.items()}
    extra = {NAME: name, FIELDS: fields}
    return (event_text(name, fields) + blocks(fields),), {"exc_info": exc_info, "extra": extra}


def sentence(name: str, fields: Mapping[str, Plain]) -> str:
    """The readable text of an event, one line."""
    return LOG_EVENTS[name].text.format_map({key: str(value).replace("\n", "\\n") for key, value in fields.items()})


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
    if isinstance(value, str) and value and value.isprintable() and not any(c in value for c in ' "=\\'):
        return value
    return json.dumps(value, ensure_ascii=False)


def _plain(value: object) -> Plain:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
