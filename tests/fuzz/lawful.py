"""A random message, changed so far that the contract's rules let it pass: what is odd about it reaches the store."""

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from agent_runner.app.server.contract.message_json import enum_in, is_map
from agent_runner.app.server.contract.rules import (
    AtLeast,
    Check,
    Defined,
    EachItem,
    Equal,
    Length,
    OneOf,
    Pattern,
    Required,
    checks_of,
)

FILLER = "\u00e9\u4e2d\U0001f600 x"


def lawful(message: Message, numbers: random.Random) -> Message:
    """The same message, repaired in place, field by field and below."""
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        for check in checks_of(field):
            _apply(check, message, field, numbers)
    if message.DESCRIPTOR.name == "ApiResourceMetadata":
        _name(message, numbers)
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        inner = [value] if not field.is_repeated else value.values() if is_map(field) else value
        for one in inner:
            if isinstance(one, Message) and not one.DESCRIPTOR.full_name.startswith("google."):
                lawful(one, numbers)
    return message


def _name(metadata: Any, numbers: random.Random) -> None:
    """With something in it that a slug can be made of; often one that is taken."""
    if numbers.random() < 0.9:
        metadata.name = f"{metadata.name[:40]} {numbers.randrange(200)}"
        metadata.slug = ""
    if numbers.random() < 0.7:
        metadata.id = ""
        metadata.org = numbers.choice(("", "local"))


def _apply(check: Check, message: Any, field: FieldDescriptor, numbers: random.Random) -> None:
    name = field.name
    match check:
        case Equal():
            setattr(message, name, check.value)
        case Required() if field.message_type is not None:
            getattr(message, name).SetInParent()
        case Required() if not getattr(message, name):
            filler = FILLER.encode() if field.type == FieldDescriptor.TYPE_BYTES else FILLER
            setattr(message, name, filler)
        case Length() if message.HasField(name) if field.has_presence else True:
            text = getattr(message, name)
            setattr(message, name, text + FILLER * (0 if len(text) >= check.at_least else check.at_least))
        case AtLeast():
            setattr(message, name, max(getattr(message, name), check.number))
        case Pattern():
            setattr(message, name, numbers.choice(("", "v1.0", "latest", "0" * 64)))
        case Defined() if getattr(message, name) not in enum_in(field).values_by_number:
            setattr(message, name, numbers.choice(list(enum_in(field).values_by_number)))
        case OneOf() if message.HasField(name):
            setattr(getattr(message, name), check.field, numbers.choice(check.values))
        case EachItem(check=OneOf() as one):
            for item in getattr(message, name):
                setattr(item, one.field, numbers.choice(one.values))
