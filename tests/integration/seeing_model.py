"""A model that looks: a server with OpenAI's and Anthropic's chat wires that refuses every block its provider would.

It answers with what it was shown, `I see image/png 5bd1...; application/pdf 7c01...`, in the order of the conversation.
"""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.unit.models_wire.scenes import ANTHROPIC, OPENAI, Scene
from tests.unit.models_wire.wires import frames

Json = dict[str, Any]


class Refused(Exception):
    """In the words of a provider."""


def seen(kind: str, data: bytes) -> str:
    return f"{kind} {hashlib.sha256(data).hexdigest()[:12]}"


def of_openai(block: Json) -> str:
    """What a block shows; empty for a text."""
    match block:
        case {"type": "text", "text": str()} if block.keys() <= {"type", "text"}:
            return ""
        case {"type": "image_url", "image_url": {"url": str(url), **rest}} if len(block) == 2 and not rest:
            return _data_url(url) if url.startswith("data:") else url
        case {"type": "file", "file": {"file_data": str(url), "filename": str(), **rest}} if not rest:
            return _data_url(url)
    raise Refused(f"Invalid content: {json.dumps(block)[:100]}")


def of_anthropic(block: Json) -> str:
    match block:
        case {"type": "text", "text": str()} if block.keys() <= {"type", "text", "cache_control"}:
            return ""
        case {"type": "tool_use" | "tool_result"}:
            return ""
        case {"type": "image" | "document", "source": {"type": "base64", "media_type": kind, "data": data, **rest}}:
            if not rest and block.keys() <= {"type", "source", "title", "cache_control"}:
                return seen(kind, base64.b64decode(data, validate=True))
        case {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": str(text), **rest}}:
            if not rest and block.keys() <= {"type", "source", "title", "cache_control"}:
                return f"text/plain {text}"
        case {"type": "image" | "document", "source": {"type": "url", "url": str(url), **rest}} if not rest:
            return url
    raise Refused(f"messages.0.content.0: Input does not match: {json.dumps(block)[:100]}")


def _data_url(url: str) -> str:
    head, _, data = url.partition(";base64,")
    return seen(head.removeprefix("data:"), base64.b64decode(data, validate=True))


class SeeingModel:
    """`asked`: the bodies of the requests; `environment`: for the worker that is to ask it."""

    def __init__(self, wire: str) -> None:
        self.wire = wire
        self.asked: list[Json] = []
        self._free = threading.Event()
        self.let_go()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        own = (
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{url}/v1"}
            if wire == OPENAI
            else {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_URL": url}
        )
        self.environment = {"STIGMER_LLM_PROVIDER": wire, "STIGMER_LLM_MODEL": "stub", **own}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()

    def hold(self) -> None:
        """Answer nobody until `let_go`."""
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    def answer(self, body: Json) -> str:
        """Raises Refused."""
        self.asked.append(body)
        self._free.wait(60)
        look = of_openai if self.wire == OPENAI else of_anthropic
        shown = [
            look(block)
            for message in body["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
        ]
        return "I see " + ("; ".join(what for what in shown if what) or "nothing")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                try:
                    scene = Scene(words=model.answer(body))
                    self.send_response(200)
                    self.send_header("content-type", "text/event-stream")
                    content = b"".join(frames(model.wire, scene))
                except (Refused, ValueError) as error:
                    self.send_response(400)
                    self.send_header("content-type", "application/json")
                    told = {"type": "invalid_request_error", "message": str(error)}
                    content = json.dumps({"type": "error", "error": told}).encode()
                self.send_header("content-length", str(len(content)))
                with contextlib.suppress(OSError):  # the client may have gone
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: what was asked is in `asked`."""

        return Handler


__all__ = ["ANTHROPIC", "OPENAI", "SeeingModel", "seen"]
