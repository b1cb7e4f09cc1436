"""Checks a caller's JSON against a contract message, before the protobuf library reads it.

The library is more lenient than the rules of protobuf JSON: it takes a list for an empty message, "1_0" for a number,
any text for base64. This check accepts what `/openapi.json` describes (`message_schemas.py` is made from the same
descriptors): either spelling of a name, enum values by name or number, null for a field that is not set.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from agent_runner.app.server.contract.rules import Violation
from agent_runner.app.server.problems import invalid, violated

BASE64 = r"^(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?$"
INT32 = (-(2**31), 2**31 - 1)
M = TypeVar("M", bound=Message)


def message_of(given: Mapping[str, Any], message: M) -> M:
    """Fills `message` with `given` and returns it. Raises INVALID_ARGUMENT that names every wrong field."""
    type_: Any = message.DESCRIPTOR
    if violations := list(_in_message(given, type_, "")):
        raise violated(violations)
    try:
        return json_format.ParseDict(dict(given), message)
    except (json_format.ParseError, ValueError, TypeError) as error:
        raise invalid(f"not a valid {message.DESCRIPTOR.name}: {error}") from None


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def type_in(field: FieldDescriptor) -> Descriptor:
    """The type of the messages in a field."""
    assert field.message_type is not None, f"{field.full_name} holds no messages"
    return field.message_type


def enum_in(field: FieldDescriptor) -> EnumDescriptor:
    """The enum whose values a field holds."""
    assert field.enum_type is not None, f"{field.full_name} is not an enum"
    return field.enum_type


def _in_message(given: Any, type_: Descriptor, path: str) -> Iterator[Violation]:
    if not isinstance(given, Mapping):
        yield _wrong(path, "must be an object")
        return
    fields = {name: field for field in type_.fields for name in (field.name, field.json_name)}
    seen: dict[str, str] = {}
    for name, value in given.items():
        at = f"{path}.{name}" if path else name
        if (field := fields.get(name)) is None:
            yield _wrong(at, f"is unknown; {type_.name} has {', '.join(f.name for f in type_.fields)}")
            continue
        # Two spellings of one field, or two fields of a oneof, contradict each other.
        slot = field.containing_oneof.name if field.containing_oneof else field.name
        if value is None:
            continue
        if slot in seen:
            yield _wrong(at, f"contradicts {seen[slot]}: give one of them")
            continue
        seen[slot] = name
        yield from _in_field(value, field, at)


def _in_field(value: Any, field: FieldDescriptor, path: str) -> Iterator[Violation]:
    if is_map(field):
        if not isinstance(value, Mapping):
            yield _wrong(path, "must be an object")
            return
        content = type_in(field).fields_by_name["value"]
        for key, item in value.items():
            yield from _in_item(item, content, f'{path}["{key}"]')
    elif field.is_repeated:
        if not isinstance(value, list):
            yield _wrong(path, "must be a list")
            return
        for index, item in enumerate(value):
            yield from _in_item(item, field, f"{path}[{index}]")
    else:
        yield from _in_item(value, field, path)


def _in_item(value: Any, field: FieldDescriptor, path: str) -> Iterator[Violation]:
    match field.type:
        case FieldDescriptor.TYPE_MESSAGE:
            yield from _in_well_known(value, type_in(field), path)
        case FieldDescriptor.TYPE_STRING:
            if not isinstance(value, str):
                yield _wrong(path, "must be a string")
        case FieldDescriptor.TYPE_BOOL:
            if not isinstance(value, bool):
                yield _wrong(path, "must be true or false")
        case FieldDescriptor.TYPE_BYTES:
            if not (isinstance(value, str) and re.fullmatch(BASE64.strip("^$"), value)):
                yield _wrong(path, "must be base64")
        case FieldDescriptor.TYPE_ENUM:
            names, numbers = enum_in(field).values_by_name, enum_in(field).values_by_number
            if not (value in names if isinstance(value, str) else _is_number(value) and value in numbers):
                yield _wrong(path, f"must be one of {', '.join(names)}")
        case _:
            if not (_is_number(value) and INT32[0] <= value <= INT32[1]):
                yield _wrong(path, "must be a whole number of 32 bits")


def _in_well_known(value: Any, type_: Descriptor, path: str) -> Iterator[Violation]:
    match type_.full_name:
        case "google.protobuf.Struct":
            if not isinstance(value, Mapping):
                yield _wrong(path, "must be an object")
        case "google.protobuf.Timestamp":
            if not isinstance(value, str):
                yield _wrong(path, "must be a time as text, 2026-11-20T10:00:00Z")
        case _:
            yield from _in_message(value, type_, path)


def _is_number(value: Any) -> bool:
    """Whether it is a whole number. JSON's 5.0 counts as 5; true is not a number."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool)


def _wrong(path: str, text: str) -> Violation:
    return Violation(field=path, text=f"{path or 'the body'} {text}")
