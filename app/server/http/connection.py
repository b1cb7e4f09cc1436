"""One HTTP connection, with limits: the number of connections, the size of a request's head, the time in which its head
and its body must arrive. A client over a limit gets an error where that is possible, and is disconnected.

The library has none of these limits: a client that sends one byte a minute would keep its connection, and the bytes
that were read, for ever.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from agent_runner.app.server.http.answers import PROBLEM
from agent_runner.app.server.problems import Kind, Problem

LINGER_S = 1.0
"""After the last answer, incoming bytes are read and dropped for this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    connections: int
    head_bytes: int
    head_s: float
    body_s: float


class Connection(HttpToolsProtocol):
    def __init__(self, limits: ConnectionLimits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = self._cut_off = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            text = f"this server has {self._limits.connections} connections (AGENT_RUNNER_MAX_HTTP_CONNECTIONS)"
            self._end(Problem(Kind.UNAVAILABLE, text, next_step="Try again, or use the connections that are open."))
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._cut_off:
            return
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()  # the next request on a connection that was idle
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # Checked afterwards: the end of the head has reset the count.
        if self._in_head and self._head_bytes > self._limits.head_bytes and not self.transport.is_closing():
            text = (
                f"the head of the request has more than {self._limits.head_bytes} bytes (AGENT_RUNNER_MAX_HEAD_BYTES)"
            )
            self._end(Problem(Kind.HEAD_TOO_LARGE, text, next_step="Send fewer and shorter headers."))

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._stop_clock()
        super().on_headers_complete()
        self._deadline = self.loop.call_later(self._limits.body_s, self._too_slow, "body", self._limits.body_s)

    def on_message_complete(self) -> None:
        self._stop_clock()
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._stop_clock()
        self._deadline = self.loop.call_later(self._limits.head_s, self._too_slow, "head", self._limits.head_s)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self, part: str, limit_s: float) -> None:
        self._deadline = None
        name = f"AGENT_RUNNER_HTTP_{part.upper()}_S"
        text = f"the {part} of the request was not there within {limit_s:g} s ({name})"
        self._end(Problem(Kind.TOO_SLOW, text, next_step="Send it again, faster or in smaller parts."))

    def _end(self, problem: Problem) -> None:
        """Sends the problem if no answer has begun, and closes. A handler that reads the body sees a disconnect."""
        self._cut_off = True
        self._stop_clock()
        if self.transport.is_closing():
            return
        # An answer that has begun stays the answer, also if it came before the whole request.
        answered = self.cycle is not None and self.cycle.response_started and not self._in_head
        self.pipeline.clear()
        if not answered:
            body = json.dumps(problem.as_json()).encode()
            head = [
                STATUS_LINE[problem.kind.http_status],
                f"content-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode(),
            ]
            self.transport.write(b"".join([*head, body]))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.transport = _Nowhere()  # type: ignore[assignment]  # drops what its handler still writes
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        # Not closed at once: with unread bytes that would send a reset, and the client would not get the answer.
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.close)


class _Nowhere(asyncio.WriteTransport):
    """A transport that drops everything written after the last answer."""

    def write(self, data: Any) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool:
        return True
