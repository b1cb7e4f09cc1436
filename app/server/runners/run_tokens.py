"""Only a caller with the token of the claim may write about a run.

Handles and fences are small numbers that anybody can guess. The worker makes 128 random bits and sends them with its
claim; the store keeps their SHA-256. A write without this token gets the same answer as a write about the run of
another worker.
"""

import hashlib
import hmac

from agent_runner.app.server.problems import invalid
from agent_runner.status.store.store import Store

TOKEN_BYTES = 16
NOBODYS_FENCE = -1
"""No run has this fence: fences begin at 0 and rise."""
MOST_KNOWN = 2_000
"""Of runs that are open on a server there are fewer, and one that is not known is read. A known one has 0.4 KiB."""


class RunTokens:
    """The token of a fence does not change, so it is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[int, int], str] = {}

    async def fence(self, handle: int, fence: int, token: bytes) -> int:
        """The fence for a write of this caller: the given one, or `NOBODYS_FENCE` if the token is wrong."""
        digest = self._known.get((handle, fence))
        if digest is None:
            digest = await self._store.run_token(handle, fence)
            if digest is None:
                return NOBODYS_FENCE
            self.keep(handle, fence, digest)
        # The digest is empty if a worker of an earlier version, without tokens, claimed the run.
        return fence if not digest or hmac.compare_digest(digest, digest_of(token)) else NOBODYS_FENCE

    def keep(self, handle: int, fence: int, digest: str) -> None:
        """What the store has for this fence: read from it, or written by a claim that it granted."""
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[handle, fence] = digest


def digest_of(token: bytes) -> str:
    """The digest that the store keeps; empty for an empty token."""
    return hashlib.sha256(token).hexdigest() if token else ""


def checked(token: bytes) -> bytes:
    """Raises INVALID_ARGUMENT for a token that is too short to be a secret."""
    if token and len(token) < TOKEN_BYTES:
        raise invalid(f"run_token: must have at least {TOKEN_BYTES} random bytes")
    return token
