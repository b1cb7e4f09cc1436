"""Requests that cannot be read, or hold texts that cannot be stored, are refused with INVALID_ARGUMENT.

grpc itself would end the call with INTERNAL and log a traceback, before any code of ours sees it. So the reader here
never fails: a request that cannot be read becomes `Unreadable`, and is refused like any other invalid request.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from agent_runner.app.server.contract.texts import unfit_texts
from agent_runner.app.server.problems import Kind, Problem, invalid, violated


@dataclass(frozen=True, slots=True)
class Most:
    """The largest request of a method."""

    size: int
    """In bytes."""
    limited_by: str = ""
    """The settings that say so, for the caller who meets it."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    size: int
    """In bytes."""
    most: Most


def reader(read: Callable[[bytes], Any], most: Most) -> Callable[[bytes], Any]:
    """`read`, but `Unreadable` replaces an exception, and a request that is larger than `most`, which is not parsed."""

    def reading(content: bytes) -> Any:
        if len(content) > most.size:
            return Unreadable(len(content), most)
        try:
            return read(content)
        except DecodeError:
            return Unreadable(len(content), most)

    return reading


def readable(request: Any) -> Any:
    """The request. Raises INVALID_ARGUMENT if it could not be read or stored, RESOURCE_EXHAUSTED if it is too large."""
    if isinstance(request, Unreadable) and request.size > request.most.size:
        why = f": {request.most.limited_by}" if request.most.limited_by else ""
        raise Problem(
            Kind.TOO_LARGE,
            f"the request has {request.size} bytes; this method takes at most {request.most.size}{why}",
            next_step="Send less; large content belongs into files of the workspace.",
        )
    if isinstance(request, Unreadable):
        raise invalid(f"the request's {request.size} bytes are not a message of the type that this method takes")
    if violations := list(unfit_texts(request)):
        raise violated(violations)
    return request


async def readable_each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield readable(request)
