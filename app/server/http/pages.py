"""The pages, with headers that allow a browser to run our own scripts and nothing else."""

import base64
import hashlib
import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


def page(name: str) -> tuple[bytes, dict[str, str]]:
    """A page of `static/` and the headers of its answer."""
    content = (STATIC / name).read_bytes()
    return content, {**HEADERS, "Content-Security-Policy": policy(content)}


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
