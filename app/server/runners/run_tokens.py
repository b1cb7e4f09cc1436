"""Who may write about a run: whoever knows the token that it was claimed with.

Handles and fences are small numbers that anybody can count up to. The worker makes 128 random bits and sends them with
its claim; the store keeps their SHA-256. What is told of a run without them is told by a stranger, and answered as if
the run were somebody else's, which it is.
"""

import hashlib
import hmac

from agent_runner.app.server.problems import invalid
from agent_runner.status.store.store import Store

TOKEN_BYTES = 16
NOBODYS_FENCE = -1
"""No run is owned under it: fences begin at 0 and rise."""
MOST_KNOWN = 20_000


class RunTokens:
    """What a token is does not change while its fence holds, so it is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[int, int], str] = {}

    async def fence(self, handle: int, fence: int, token: bytes) -> int:
        """The fence that this caller writes under: the given one, or nobody's."""
        digest = self._known.get((handle, fence))
        if digest is None:
            digest = await self._store.run_token(handle, fence)
            if digest is None:
                return NOBODYS_FENCE
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[handle, fence] = digest
        # Without one it was claimed by a worker of before there were tokens.
        return fence if not digest or hmac.compare_digest(digest, digest_of(token)) else NOBODYS_FENCE


def digest_of(token: bytes) -> str:
    """What the store keeps; empty for none."""
    return hashlib.sha256(token).hexdigest() if token else ""


def checked(token: bytes) -> bytes:
    """Raises INVALID_ARGUMENT for one that is too short to be a secret."""
    if token and len(token) < TOKEN_BYTES:
        raise invalid(f"run_token: must have at least {TOKEN_BYTES} random bytes")
    return token
