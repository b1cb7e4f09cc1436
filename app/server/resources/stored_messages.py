"""Stored resources as the contract's messages, for the answer to a claim. Their JSON is read once for each version."""

from collections import OrderedDict
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from agent_runner.status.store.records import Resource

M = TypeVar("M", bound=Message)
MOST_KEPT = 64
_kept: OrderedDict[tuple[str, int, float], Message] = OrderedDict()
"""By id, version and the time of its creation: an id can be given again."""


def stored_message(resource: Resource, type_: type[M]) -> M:
    """The message of the resource. It is everybody's: copy it before you change it."""
    key = (resource.id, resource.version, resource.created_at)
    message = _kept.get(key)
    if message is None:
        message = json_format.ParseDict(resource.body, type_(), ignore_unknown_fields=True)
        _kept[key] = message
        if len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    else:
        _kept.move_to_end(key)
    assert isinstance(message, type_)  # an id begins with its kind
    return message
