"""A TCP proxy whose connections break: what a page behind it reads, it reads in pieces."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

from tests.support.ports import free_port

REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BreakingProxy:
    """`limits`: of each event stream, in their order, how many bytes pass before the connection breaks; -1: it is
    refused (401). Later streams, and all other requests, pass whole."""

    def __init__(self, target: Callable[[], int], limits: Sequence[int]) -> None:
        self.port = free_port()
        self.streams = 0
        self._target, self._limits = target, limits
        self._counter = itertools.count()

    @contextlib.contextmanager
    def running(self) -> Iterator["BreakingProxy"]:
        with socket.create_server(("127.0.0.1", self.port)) as listening:
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
            yield self
            listening.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = listening.accept()
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            asked = one.recv(1 << 16)
            left: int | None = None
            if b"/events?" in asked.split(b"\r\n", 1)[0]:
                number = next(self._counter)
                self.streams = number + 1
                left = self._limits[number] if number < len(self._limits) else None
            if left == -1:
                one.sendall(REFUSED)
                return
            with socket.create_connection(("127.0.0.1", self._target())) as server:
                server.sendall(asked.replace(b"Connection: keep-alive", b"Connection: close"))
                while read := server.recv(1 << 16):
                    one.sendall(read if left is None else read[:left])
                    left = None if left is None else left - len(read)
                    if left is not None and left <= 0:
                        return
