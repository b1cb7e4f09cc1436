"""Stored resources as the contract's messages, for the answer to a claim.

The JSON of agents is read once for each version. Sessions are new for nearly every claim: protobuf makes a message of
the values of such a document in an eighth of the time that its reader of JSON needs.
"""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from agent_runner.ai.stigmer.agentic.session.v1.api_pb2 import Session
from agent_runner.status.store.records import Resource

M = TypeVar("M", bound=Message)
MOST_KEPT = 64
MILLISECONDS = len("2026-11-29T12:00:00.000Z")
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


def session_message(body: Mapping[str, Any]) -> Session:
    """The message of a stored session. What the server has not written in this form goes to the reader of JSON."""
    try:
        return Session(**_with_times(body))
    except (AttributeError, TypeError, ValueError):
        return json_format.ParseDict(dict(body), Session(), ignore_unknown_fields=True)


def _with_times(body: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ValueError for a time that is not in milliseconds of UTC."""
    audits = body.get("status", {}).get("audit", {})
    timed = {
        audit: {name: _time(value) if name.endswith("_at") else value for name, value in told.items()}
        for audit, told in audits.items()
    }
    return {**body, "status": {**body.get("status", {}), "audit": timed}} if timed else {**body}


def _time(text: str) -> datetime:
    if len(text) != MILLISECONDS or not text.endswith("Z"):
        raise ValueError(text)
    return datetime.fromisoformat(text)
