"""A server that speaks OpenAI's chat completions and misbehaves as it is told: one `Reply` per request, in order.

    with ModelStub(port, refuses(429, "slow down", {"retry-after": "1"}), says("there you are")) as model: ...

The last reply is given to every further request too. `asked` are the bodies of the requests, `at` when they came.
"""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Answer"], None]
TOKEN_PAUSE_S = 0.01


class Answer(BaseHTTPRequestHandler):
    """One request of a client, and what can be done with it."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with contextlib.suppress(OSError):  # the client may have gone
            self.server.stub.take(body)(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what was asked is in the stub."""

    def whole(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers, "content-length": len(content)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def begin_stream(self) -> None:
        self._id = f"chatcmpl-{len(self.server.stub.asked)}"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def delta(self, delta: Mapping[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": self._id, "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": [choice]}
        self._chunk(f"data: {json.dumps(chunk)}\n\n".encode())
        time.sleep(TOKEN_PAUSE_S)

    def words(self, text: str) -> None:
        self.delta({"role": "assistant", "content": ""})
        for word in text.split(" "):
            self.delta({"content": f"{word} "})

    def end_stream(self, finish: str) -> None:
        self.delta({}, finish)
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def cut(self) -> None:
        """The connection is reset, in the middle of the answer."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.server.stub.cut += 1
        self.connection.close()

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))


def says(text: str) -> Reply:
    def reply(answer: Answer) -> None:
        answer.begin_stream()
        answer.words(text)
        answer.end_stream("stop")

    return reply


def calls(name: str, arguments: str, finish: str = "tool_calls") -> Reply:
    """A tool call; `arguments` go out as they are, JSON or not."""

    def reply(answer: Answer) -> None:
        answer.begin_stream()
        function = {"name": name, "arguments": ""}
        answer.delta({"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "function": function}]})
        for start in range(0, len(arguments), 8):
            piece = {"index": 0, "function": {"arguments": arguments[start : start + 8]}}
            answer.delta({"tool_calls": [piece]})
        answer.end_stream(finish)

    return reply


def refuses(status: int, message: str, headers: Mapping[str, str] | None = None, code: str = "") -> Reply:
    body = {"error": {"message": message, "type": "stub_error", "param": None, "code": code or None}}
    return lambda answer: answer.whole(status, body, headers or {})


def breaks_off(text: str, after_s: float) -> Reply:
    """Says this, waits, and cuts the connection."""

    def reply(answer: Answer) -> None:
        answer.begin_stream()
        answer.words(text)
        time.sleep(after_s)
        answer.cut()

    return reply


def silent(seconds: float, text: str) -> Reply:
    """Takes the request, says nothing for so long, and answers."""

    def reply(answer: Answer) -> None:
        time.sleep(seconds)
        says(text)(answer)

    return reply


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    stub: "ModelStub"


class ModelStub:
    def __init__(self, port: int, *replies: Reply) -> None:
        self._replies = replies
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), Answer)
        self._server.stub = self
        self.asked: list[dict[str, Any]] = []
        self.at: list[float] = []
        self.cut = 0
        self.environment = {
            "STIGMER_LLM_PROVIDER": "openai",
            "STIGMER_LLM_MODEL": "stub",
            "OPENAI_API_KEY": "sk-of-the-stub",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        }
        """For the worker that is to ask this model."""

    def __enter__(self) -> "ModelStub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="model stub", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: dict[str, Any]) -> Reply:
        with self._lock:
            self.asked.append(body)
            self.at.append(time.monotonic())
            return self._replies[min(len(self.asked), len(self._replies)) - 1]
