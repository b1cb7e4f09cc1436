"""A client of the contract that is nothing but a channel and a key: what it sends and gets is what the facts say."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.contract.methods.facts import METHODS, message_class

TIMEOUT_S = 20
Metadata = tuple[tuple[str, str], ...]


class Caller:
    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._channel = channel
        self.metadata = metadata
        self.reports_by: Metadata = metadata
        """A runner's key, where one is needed: it has no org, so it is never the caller's own."""

    @classmethod
    def with_key(cls, channel: grpc.aio.Channel, key: str) -> "Caller":
        return cls(channel, (("authorization", f"Bearer {key}"),))

    async def call(self, method: str, request: Any, *more: tuple[str, str]) -> Any:
        """The reply. Of a stream the first one; what follows is cancelled."""
        if not METHODS[method].streams:
            metadata = self.reports_by if method.endswith(".updateStatus") else self.metadata
            return await self.bound(method)(request, metadata=(*metadata, *more), timeout=TIMEOUT_S)
        stream = self.stream(method, request)
        try:
            return await anext(aiter(stream))
        finally:
            stream.cancel()

    def stream(self, method: str, request: Any) -> Any:
        return self.bound(method)(request, metadata=self.metadata, timeout=TIMEOUT_S)

    async def refused(self, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
        """The status code and text of a call that must fail."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request)
        return caught.value.code(), caught.value.details() or ""

    def bound(self, method: str) -> Callable[..., Any]:
        facts = METHODS[method]
        make = self._channel.unary_stream if facts.streams else self._channel.unary_unary
        codec: dict[str, Any] = {
            "request_serializer": message_class(facts.input).SerializeToString,
            "response_deserializer": message_class(facts.output).FromString,
        }
        found: Callable[..., Any] = make(facts.path, **codec)
        return found
