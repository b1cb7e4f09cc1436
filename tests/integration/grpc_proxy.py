"""A gRPC proxy between worker and server that loses replies after the server has committed."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc

RUNNER = "/agent_runner.v1.Runner/"
STREAMS = {RUNNER + "presence"}


class GrpcProxy(grpc.GenericRpcHandler):
    """Forwards bytes. `lose_reply("claim")` answers UNAVAILABLE once, after the real server has answered.

    Methods of other services than the runner's go by their whole path.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self._port, self._target = port, f"127.0.0.1:{target_port}"
        self._to_lose: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.bytes_sent: Counter[str] = Counter()
        """By method, what went from the worker to the server."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> "GrpcProxy":
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def lose_reply(self, method: str, times: int = 1) -> None:
        self._to_lose[method if method.startswith("/") else RUNNER + method] += times

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._channel = grpc.aio.insecure_channel(self._target, options=[("grpc.enable_http_proxy", 0)])
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self,))
        server.add_insecure_port(f"127.0.0.1:{self._port}")
        await server.start()
        self._ready.set()
        await self._stop.wait()
        await server.stop(0.2)
        await self._channel.close()

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        metadata = tuple((k, v) for k, v in handler_call_details.invocation_metadata if not k.startswith("grpc-"))
        metadata = tuple((k, v) for k, v in metadata if k not in ("user-agent",))
        self.calls[method.removeprefix(RUNNER)] += 1
        if method in STREAMS:

            async def stream(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
                call: Any = self._channel.stream_stream(method)
                call = call(requests, metadata=metadata)
                try:
                    async for reply in call:
                        yield reply
                finally:
                    call.cancel()

            return grpc.stream_stream_rpc_method_handler(stream)

        async def unary(request: bytes, context: Any) -> bytes:
            self.bytes_sent[method.removeprefix(RUNNER)] += len(request)
            try:
                forward: Any = self._channel.unary_unary(method)
                reply: bytes = await forward(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
                raise
            if self._to_lose[method] > 0:
                self._to_lose[method] -= 1
                self.lost[method.removeprefix(RUNNER)] += 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
            return reply

        return grpc.unary_unary_rpc_method_handler(unary)
