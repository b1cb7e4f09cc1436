"""The one API key. Every call carries it as `Authorization: Bearer <key>`."""

import hmac

from app.server.problems import Kind, Problem

SCHEME = "bearer"


class ApiKey:
    """Knows the key and compares in constant time; never shows it."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def accepts(self, authorization: str | None) -> bool:
        """Whether this header value carries the key. An empty key accepts nobody."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != SCHEME or not self._key:
            return False
        return hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._key)


def unauthenticated() -> Problem:
    return Problem(
        Kind.UNAUTHENTICATED,
        "this call needs the header 'Authorization: Bearer <key>' with the server's API key",
        next_step="Set STIGMER_API_KEY to the server's key (dummy-local-key on a local stack).",
    )
