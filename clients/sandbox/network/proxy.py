"""A forward proxy (CONNECT and plain HTTP) in the worker, for commands that may reach some hosts.

It accepts on a socket that was made inside a run's network namespace and belongs to it, and connects from the worker's.
So only the run's own commands can use it, and they have no other way out: without the proxy, a program finds nothing
but its loopback.

One thread per process serves all runs, so that a command that sends much data delays no run's event loop.
"""

import asyncio
import contextlib
import os
import socket
import threading
from typing import ClassVar
from urllib.parse import urlsplit

from agent_runner.clients.sandbox.network.allowed_hosts import AllowedHosts, NotAllowed

PORT = 3128
"""Inside, on 127.0.0.1."""
MOST_CONNECTIONS = 64
"""Of one run at a time; others wait in the socket's queue."""
MAX_HEAD_BYTES = 32 << 10
HEAD_S, CONNECT_S, IDLE_S = 15.0, 15.0, 300.0
AGAIN_S = 0.1
CHUNK = 64 << 10
_DROPPED = (b"proxy-connection", b"proxy-authorization", b"connection", b"keep-alive")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def environment() -> dict[str, str]:
    """The variables that tell programs the proxy, in upper and lower case: some programs read only one of them."""
    url, own = f"http://127.0.0.1:{PORT}", "localhost,127.0.0.1,::1"
    told = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "ALL_PROXY": url, "NO_PROXY": own}
    return told | {name.lower(): value for name, value in told.items()}


class Egress:
    """Serves one run's listener until `close`."""

    def __init__(self, listener: socket.socket, allowed: AllowedHosts) -> None:
        self._allowed = allowed
        self._loop = _Thread.of_this_process().loop
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)
        self._open: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        self._listener = listener
        self._accepting = asyncio.run_coroutine_threadsafe(self._accept(), self._loop)

    def close(self) -> None:
        """Ends its connections; from any thread, and without waiting for them. Idempotent."""
        with contextlib.suppress(RuntimeError):  # the loop has ended with its process
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._accepting.cancel()
        for task in self._open:
            task.cancel()

    async def _accept(self) -> None:
        try:
            while True:
                await self._places.acquire()
                try:
                    connection, _ = await self._loop.sock_accept(self._listener)
                except OSError:  # this process has no free descriptor at the moment: the command waits
                    self._places.release()
                    await asyncio.sleep(AGAIN_S)
                    continue
                task = self._loop.create_task(self._serve(connection))
                self._open.add(task)
                task.add_done_callback(self._served)
        finally:
            self._listener.close()

    def _served(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        self._places.release()
        if not task.cancelled():
            task.exception()  # marks the error as seen: nobody is told how a command's connection ended

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_HEAD_BYTES)
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
            there, first, answer = await self._begin(head)
        except (NotAllowed, OSError, ValueError, asyncio.LimitOverrunError, EOFError) as error:
            await _refuse(writer, error)
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        try:
            there[1].write(first)
            writer.write(answer)
            await asyncio.gather(_pass_on((reader, there[1])), _pass_on((there[0], writer)))
        finally:
            for end in (writer, there[1]):
                end.transport.abort()

    async def _begin(self, head: bytes) -> tuple[Streams, bytes, bytes]:
        """(the connection, first bytes for the host, first bytes for the command). Raises NotAllowed, OSError."""
        line, *fields = head[:-4].split(b"\r\n")
        method, target, version = line.split(b" ", 2)
        if method == b"CONNECT":
            host, port = _host_and_port(f"//{target.decode('ascii')}", 443)
            return await self._connect(host, port), b"", b"HTTP/1.1 200 Connection established\r\n\r\n"
        given = target.decode("ascii")
        if not given.lower().startswith("http://"):
            raise ValueError("this is a proxy: it takes CONNECT, and http:// addresses")
        host, port = _host_and_port(given, 80)
        parts = urlsplit(given)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = [one for one in fields if one.split(b":", 1)[0].strip().lower() not in _DROPPED]
        told = [b"%s %s %s" % (method, path.encode(), version), *kept, b"Connection: close"]
        return await self._connect(host, port), b"\r\n".join(told) + b"\r\n\r\n", b""

    async def _connect(self, host: str, port: int) -> Streams:
        self._allowed.check_name(host, port)
        async with asyncio.timeout(CONNECT_S):
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # It connects to the address that was checked: a second look-up could lead elsewhere.
            addresses = self._allowed.reachable(host, port, dict.fromkeys(str(one[4][0]) for one in found))
            problem: OSError = OSError(f"{host}:{port} has no address")
            for address in addresses:
                try:
                    return await asyncio.open_connection(address, port, limit=MAX_HEAD_BYTES)
                except OSError as error:
                    problem = error
        raise problem


def _host_and_port(url: str, default: int) -> tuple[str, int]:
    """Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname or "@" in parts.netloc:
        raise ValueError("the request names no host")
    return parts.hostname, parts.port or default


async def _pass_on(way: Streams) -> None:
    reader, writer = way
    while True:
        async with asyncio.timeout(IDLE_S):
            data = await reader.read(CHUNK)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _refuse(writer: asyncio.StreamWriter, error: Exception) -> None:
    if isinstance(error, NotAllowed):
        status, words = "403 Forbidden", f"refused by the sandbox: {error}"
    elif isinstance(error, TimeoutError):
        status, words = "504 Gateway Timeout", "the host did not answer in time"
    elif isinstance(error, OSError):
        status, words = "502 Bad Gateway", f"the host cannot be reached: {error.strerror or error}"
    else:
        status, words = "400 Bad Request", f"the request is none for a proxy: {error}"
    body = f"{words}\n".encode()
    # Also as the reason in the status line: programs show that for a CONNECT, and not the body.
    shown = words.encode("ascii", "replace").decode()[:300]
    head = f"HTTP/1.1 {status.split()[0]} {shown}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(HEAD_S):
            writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            await writer.drain()
    writer.close()


class _Thread:
    """A thread with an event loop; a process that was forked makes one of its own."""

    _made: ClassVar["dict[int, _Thread]"] = {}
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="sandbox-proxy", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> "_Thread":
        with cls._making:
            pid = os.getpid()
            if pid not in cls._made:
                cls._made = {pid: cls()}
            return cls._made[pid]
