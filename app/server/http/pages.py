"""The pages, with headers that allow a browser to run our own scripts and nothing else."""

import base64
import hashlib
import re
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

STATIC = Path(__file__).parent / "static"
_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page:
    """A page of `static/`, kept in memory with the name of its content (an ETag)."""

    def __init__(self, name: str) -> None:
        self._content = (STATIC / name).read_bytes()
        self._tag = f'W/"{hashlib.sha256(self._content).hexdigest()[:32]}"'
        self._headers = {**HEADERS, "Content-Security-Policy": policy(self._content), "ETag": self._tag}

    def answer(self, request: Request) -> Response:
        """A browser that has it already gets 304."""
        if self._tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self._headers)
        return HTMLResponse(self._content, headers=self._headers)


HEADERS = {
    "Cache-Control": "no-cache",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def policy(html: bytes) -> str:
    """The policy with the hash of each script and each style of the page. A browser runs no other script in it."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        hashes[kind.decode()].append(f"'sha256-{digest}'")
    rules = [
        "default-src 'none'",
        *(" ".join([f"{kind}-src", *(found or ["'none'"])]) for kind, found in hashes.items()),
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return "; ".join(rules)
