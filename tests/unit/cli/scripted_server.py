"""A real HTTP server with one scripted execution: what a client of the API meets, without the product's server."""

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from agent_runner.status.log.log import LogRow, fold, render

ID, KEY = "aex-1", "dummy-local-key"
STARTED_AT = 1_800_000_000.0
USER = ("message", {"id": "user", "type": "MESSAGE_HUMAN", "content": "hello"})
PENDING = ("phase", {"phase": "EXECUTION_PENDING"})
IN_PROGRESS = ("phase", {"phase": "EXECUTION_IN_PROGRESS"})
ANSWER = [("message", {"id": "m1", "type": "MESSAGE_AI", "content": ""}), ("text", {"id": "m1", "text": "the answer"})]
COMPLETED = [*ANSWER, ("message_end", {"id": "m1"}), ("phase", {"phase": "EXECUTION_COMPLETED"})]
Said = tuple[str, Mapping[str, Any]]


def failed(phase: str, code: str, error: str, next_step: str) -> list[Said]:
    metadata = {"error_code": code, "next_step": next_step}
    text = f"{error} [{code} X]"
    return [
        ("message", {"id": "s", "type": "MESSAGE_SYSTEM", "content": text, "metadata": metadata}),
        ("phase", {"phase": phase, "error_code": code, "error": text}),
    ]


def rows_of(said: Sequence[Said]) -> list[LogRow]:
    return [
        LogRow(seq=seq, at=STARTED_AT + seq, fence=1, kind=kind, payload=dict(payload))
        for seq, (kind, payload) in enumerate(said, start=1)
    ]


class ScriptedServer(ThreadingHTTPServer):
    """`script` is the log. `drop_after` ends the first stream after so many rows; `on_cancel` follows a cancel."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Said] = [USER, PENDING, IN_PROGRESS, *COMPLETED]
        self.on_cancel: list[Said] = []
        self.drop_after = 0
        self.seen: list[tuple[str, str, str]] = []
        """(method and path, Last-Event-ID, Idempotency-Key) of every request."""
        self.bodies: list[Any] = []
        self.problem: dict[str, Any] | None = None
        self.cancelled = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def execution(self) -> dict[str, Any]:
        return {
            "kind": "AgentExecution",
            "metadata": {"id": ID},
            "spec": {"session_id": "ses-1"},
            "status": render(fold(rows_of(self.script))),
        }

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.cancelled.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def do_GET(self) -> None:
        self._note()
        if self.server.problem is not None:
            self._problem()
        elif self.path.endswith("/events"):
            self._stream()
        elif self.path == f"/v1/executions/{ID}":
            self._answer(200, self.server.execution())
        elif self.path.startswith("/v1/executions"):
            self._answer(200, {"entries": [self.server.execution()], "next_page_token": "", "total": 1})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        self._note()
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"))
        if self.server.problem is not None:
            self._problem()
        elif self.path.endswith("/cancel"):
            self.server.script += self.server.on_cancel
            self.server.cancelled.set()
            self._answer(202, self.server.execution())
        else:
            self._answer(201, self.server.execution())

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        last = int(self.headers.get("Last-Event-ID") or 0)
        while True:
            rows = [row for row in rows_of(self.server.script) if row.seq > last]
            for row in rows:
                self._event("update", row.seq, _shown(row))
                last = row.seq
                if self.server.drop_after and last >= self.server.drop_after:
                    self.server.drop_after = 0
                    return
            phase = str(self.server.script[-1][1].get("phase", ""))
            if phase.endswith(("COMPLETED", "FAILED", "CANCELLED")):
                self._event("end", last, {"seq": last, "phase": phase, "error_code": ""})
                return
            if self.server.cancelled.is_set() and not rows:
                return  # there is nothing more to wait for: this thread must not spin behind the tests that follow
            self.server.cancelled.wait(30)

    def _event(self, name: str, seq: int, data: Mapping[str, Any]) -> None:
        self.wfile.write(f"id: {seq}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def _note(self) -> None:
        headers = (self.headers.get("Last-Event-ID") or "", self.headers.get("Idempotency-Key") or "")
        self.server.seen.append((f"{self.command} {self.path}", *headers))

    def _problem(self) -> None:
        assert self.server.problem is not None
        self._answer(int(self.server.problem["status"]), self.server.problem, "application/problem+json")

    def _answer(self, status: int, body: Mapping[str, Any], content_type: str = "application/json") -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


def _shown(row: LogRow) -> dict[str, Any]:
    return {"seq": row.seq, "at": row.at, "fence": row.fence, "kind": row.kind, "payload": row.payload}
