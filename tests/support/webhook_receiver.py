"""A server of a test's own that webhooks are called at, and what it was sent."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIGNATURE = "X-Agent-Runner-Signature"


@dataclass(frozen=True)
class Call:
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def is_signed_with(self, secret: str) -> bool:
        """As a receiver checks it: the HMAC of `SECONDS.BODY`."""
        stamp, _, digest = self.headers[SIGNATURE].partition(",v1=")
        signed = f"{stamp.removeprefix('t=')}.".encode() + self.body
        return hmac.compare_digest(digest, hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest())


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[str, list[Call]]]:
    """(its address, its calls). It answers with these statuses in order, and then with 200."""
    calls: list[Call] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            calls.append(Call(dict(self.headers), body))
            self.send_response(left.pop(0) if left else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/done?token=abc", calls
    finally:
        server.shutdown()
        server.server_close()
