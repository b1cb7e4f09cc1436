"""Refuses texts that a database or a shell cannot take when they arrive. The error names the field."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from agent_runner.app.server.contract.message_json import is_map
from agent_runner.app.server.contract.rules import Violation
from agent_runner.app.server.problems import invalid

NUL, NO_NUL = "\0", "must not contain NUL characters"
MAX_INDEXED = 255
"""In characters. An index of Postgres holds 2704 bytes, for all its columns."""
INDEXED = frozenset({"org", "incarnation", "queue", "execution_id", "tag"})
"""Fields that the server looks up by an index, but does not make itself."""
REPORTED = frozenset({"status"})
"""The output of a tool may contain any character. It is stored as JSON, which can write all of them."""


def unfit_texts(message: Message, prefix: str = "") -> Iterator[Violation]:
    """Finds NUL characters, also in the keys and values of maps, and names that are too long for an index."""
    for field, value in message.ListFields():
        if field.name in REPORTED or field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        path = prefix + field.name
        if is_map(field):
            for key in value:
                yield from _within(f'{path}["{key}"]', value[key])
                yield from _within(path, key)
        elif field.is_repeated:
            for index, item in enumerate(value):
                yield from _within(f"{path}[{index}]", item)
        else:
            if field.type == FieldDescriptor.TYPE_MESSAGE or NUL in value:
                yield from _within(path, value)
            if field.name in INDEXED and len(value) > MAX_INDEXED:
                text = f"{path} must have at most {MAX_INDEXED} characters; it has {len(value)}"
                yield Violation(field=path, text=text)


def _within(path: str, value: Any) -> Iterator[Violation]:
    if isinstance(value, Message):
        yield from unfit_texts(value, f"{path}.")
    elif isinstance(value, str) and NUL in value:
        shown = path.replace(NUL, "\\0")
        yield Violation(field=shown, text=f"{shown} {NO_NUL}")


def check_text(field: str, text: str) -> None:
    """Neither a shell nor Postgres can take a NUL character. Raises INVALID_ARGUMENT that names the field."""
    if NUL in text:
        raise invalid(f"{field}: {NO_NUL}")


def without_nul(given: Any) -> Any:
    """The JSON value. Raises ValueError for a NUL character in any text or name in it: Postgres keeps none in JSON."""
    left = [given]
    while left:
        match left.pop():
            case dict() as one:
                left += [*one, *one.values()]
            case list() as one:
                left += one
            case str() as text if NUL in text:
                raise ValueError(NO_NUL)
    return given
