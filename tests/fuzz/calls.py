"""One call of any gRPC method with bytes of our choice, and what came of it."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from agent_runner.app.server import composition

_REGISTERED = composition
"""Imported because that registers the descriptors of all services."""
DEADLINE_S = 20.0
STREAM_S = 0.3
"""A stream is read for so long, then cancelled: most of them would never end by themselves."""
STREAMED_REPLIES = 5
Metadata = tuple[tuple[str, str | bytes], ...]
NEVER = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})
"""What no request may cause: each of them means that the server did not expect it."""
OWN_FAILURE = "Internal error from Core"
"""grpc's client says so, not the server: the call was refused while the client was writing to it."""
ENDED_BY_US = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    path: str
    """`/<service>/<method>`"""
    described: MethodDescriptor

    @property
    def input(self) -> Descriptor:
        return self.described.input_type

    @property
    def streams(self) -> bool:
        return self.described.server_streaming


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    method: str
    code: grpc.StatusCode
    details: str
    replies: tuple[Any, ...]
    """Messages. Empty when the call was refused."""


async def methods_of(channel: grpc.aio.Channel) -> list[Method]:
    """Every method of every service that the server says it has, but reflection itself."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
    found: list[Method] = []
    async for reply in stub.ServerReflectionInfo(_one(reflection_pb2.ServerReflectionRequest(list_services=""))):
        for service in reply.list_services_response.service:
            if not service.name.startswith("grpc.reflection."):
                methods = descriptor_pool.Default().FindServiceByName(service.name).methods
                found += [Method(path=f"/{service.name}/{m.name}", described=m) for m in methods]
    return found


async def _one(message: Any) -> AsyncIterator[Any]:
    yield message


def readable(content: bytes, type_: Descriptor) -> bool:
    """Whether these bytes are a message of this type."""
    try:
        message_factory.GetMessageClass(type_).FromString(content)
    except DecodeError:
        return False
    return True


async def called(
    channel: grpc.aio.Channel,
    method: Method,
    requests: list[bytes],
    metadata: Metadata,
    *,
    cancel_after: int = -1,
    to_its_end: bool = False,
) -> Outcome:
    """The outcome of one call. `cancel_after`: the caller leaves after so many turns of the loop. `to_its_end`: a
    stream that must end by itself is given the time to."""
    described = method.described
    read = message_factory.GetMessageClass(described.output_type).FromString
    given: Mapping[str, Any] = {"metadata": metadata, "timeout": DEADLINE_S}
    make: Any
    call: Any
    writing: asyncio.Task[None] | None = None
    if described.client_streaming:
        make = channel.stream_stream if method.streams else channel.stream_unary
        call = make(method.path, response_deserializer=read)(**given)
        writing = asyncio.create_task(_write(call, requests))
    else:
        make = channel.unary_stream if method.streams else channel.unary_unary
        call = make(method.path, response_deserializer=read)(requests[0], **given)
    replies: list[Any] = []
    if cancel_after >= 0:
        for _ in range(cancel_after):
            await asyncio.sleep(0)
        call.cancel()
    try:
        if method.streams:
            await _read_some(call, replies, DEADLINE_S if to_its_end else STREAM_S)
        else:
            replies.append(await call)
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        pass  # its code says what it was
    finally:
        call.cancel()
        if writing is not None:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
    code, details = await call.code(), str(await call.details())
    if details == OWN_FAILURE:
        code = grpc.StatusCode.CANCELLED
    return Outcome(method=method.path, code=code, details=details, replies=tuple(replies))


async def _write(call: Any, requests: list[bytes]) -> None:
    """By hand: a call that is given an iterator takes a refusal in the middle of it for an error of its own."""
    with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
        for request in requests:
            await call.write(request)
        await call.done_writing()


async def _read_some(call: Any, replies: list[Any], seconds: float) -> None:
    async def read() -> None:
        async for reply in call:
            replies.append(reply)
            if len(replies) == STREAMED_REPLIES:
                return

    try:
        await asyncio.wait_for(read(), seconds)
    except TimeoutError:
        call.cancel()


def odd_metadata(key: str, numbers: random.Random) -> Iterator[tuple[str, str | bytes]]:
    """With or without the key, of the right type or not, and more that nobody asked for."""
    match numbers.randrange(8):
        case 0:
            pass
        case 1:
            yield "authorization-bin", f"Bearer {key}".encode()
        case 2:
            yield "authorization", "Bearer ~" + "x" * numbers.choice((0, 50, 3000))
        case 3:
            yield from (("authorization", "Bearer wrong"), ("authorization", f"Bearer {key}"))
        case _:
            yield "authorization", f"Bearer {key}"
    match numbers.randrange(6):
        case 0:
            yield "idempotency-key-bin", numbers.randbytes(9)
        case 1:
            yield "idempotency-key", "k" * numbers.choice((1, 255, 256, 4000))
        case 2:
            yield from (("idempotency-key", "a"), ("idempotency-key", "b"))
        case 3:
            yield "page_size", "no number"
        case _:
            pass
