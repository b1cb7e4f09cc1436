"""A link between two processes that a case can reset, black-hole, refuse and heal; it counts what it did.

With several targets it is the address in front of several servers: a new connection goes to one that takes it.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

CHUNK = 1 << 16


class TcpProxy:
    """`with TcpProxy(port, target_port) as link:` passes bytes; `cut` counts connections reset, `held` chunks kept
    back. With `refusing` nothing listens until `heal`."""

    def __init__(self, port: int, *target_ports: int, refusing: bool = False) -> None:
        self.port, self._targets = port, itertools.cycle(target_ports)
        self._count = len(target_ports)
        self.cut = self.held = self.accepted = self.forwarded = 0
        self._refusing = refusing
        self._muted = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"link {port}", daemon=True)
        self._open: asyncio.Event
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> "TcpProxy":
        self._thread.start()
        self._do(self._begin)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def reset(self) -> int:
        """Every connection gets RST, and new ones are refused until `heal`. How many there were."""
        return int(self._do(self._reset))

    def drop(self) -> int:
        """Every connection gets RST; new ones are welcome."""
        return int(self._do(self._drop))

    def blackhole(self) -> int:
        """Bytes go nowhere, in both directions, and nobody is told; connections stay. How many there are."""
        return int(self._do(self._blackhole))

    def mute(self) -> None:
        """What the target answers goes nowhere until `heal`: it is told things, does them, and nobody hears of it."""
        self._muted = True

    def heal(self) -> None:
        """What was held goes on its way, as after a healed network; new connections are taken."""
        self._do(self._heal)

    def _do(self, step: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(step(), self._loop).result(10)

    async def _begin(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        if not self._refusing:
            await self._listen()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK)

    async def _reset(self) -> int:
        if self._server is not None:
            self._server.close()
            self._server = None
        return await self._drop()

    async def _drop(self) -> int:
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for writer in pair:
                _abort(writer)
        self.cut += len(pairs)
        return len(pairs)

    async def _blackhole(self) -> int:
        self._open.clear()
        return len(self._pairs)

    async def _heal(self) -> None:
        self._muted = False
        self._open.set()
        await self._listen()

    async def _end(self) -> None:
        await self._reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            _abort(writer)
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        for source, sink, answers in ((reader, far_writer, False), (far_reader, writer, True)):
            task = self._loop.create_task(self._pump(source, sink, answers=answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the target whose turn it is, else to the next one that listens."""
        refused = OSError("no target")
        for _ in range(self._count):
            try:
                return await asyncio.open_connection("127.0.0.1", next(self._targets), limit=CHUNK)
            except OSError as error:
                refused = error
        raise refused

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while chunk := await source.read(CHUNK):
                if answers and self._muted:
                    self.held += 1
                    continue
                if not self._open.is_set():
                    self.held += 1
                    await self._open.wait()
                sink.write(chunk)
                await sink.drain()
                self.forwarded += 1
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError, RuntimeError):
                sink.close()
            self._pairs = {pair for pair in self._pairs if not all(w.is_closing() for w in pair)}


def _abort(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
