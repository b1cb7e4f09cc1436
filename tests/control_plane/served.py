"""A server on real sockets with two orgs that use it, on one event loop that runs while a call is made."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

import grpc

from agent_runner.app.server.composition import running_server
from agent_runner.clients.settings.settings import Settings
from tests.control_plane.caller import Caller
from tests.unit.server.conftest import http_client
from tests.unit.server.identity import key

T = TypeVar("T")


class Served:
    def __init__(self, settings: Settings) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        """(what was done, how it went): how often."""
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._settings = settings
        try:
            self.run(self._start())
        except BaseException:
            self.close()
            raise

    async def _start(self) -> None:
        self.server = await self._stack.enter_async_context(running_server(self._settings))
        target = f"127.0.0.1:{self.server.grpc_port}"
        self._channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(target))
        self._http = await self._stack.enter_async_context(http_client(self.server))

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(call)

    def org(self) -> tuple[str, Caller]:
        """A new one, with a key of its own."""
        name = f"org-{uuid.uuid4().hex[:12]}"
        return name, Caller(self._channel, self._http, self.run(key(self.server, "admin", org=name)))

    def close(self) -> None:
        try:
            self.run(self._stack.aclose())
            self.run(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    made = Served(settings)
    try:
        yield made
    finally:
        made.close()
