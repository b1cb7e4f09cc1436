"""API keys: what one may do, and what is known of it. The key itself is kept by nobody; only its digest is."""

from dataclasses import dataclass, field
from enum import Enum


class Scope(Enum):
    """What a key may be used for. Which calls that are: `app/server/access/scopes.py`."""

    ADMIN = "admin"
    EXECUTE = "execute"
    READ = "read"
    RUNNER = "runner"
    MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Times are epoch seconds of the database's clock. An empty `org` means all orgs."""

    id: str
    name: str
    scopes: frozenset[Scope]
    org: str
    digest: str = field(repr=False)
    """SHA-256 of the whole key, in hexadecimal."""
    created_at: float
    last_used_at: float | None
    """Coarse: written at most once a minute by each server."""
    revoked_at: float | None
    expires_at: float | None = None
    """From then on it opens nothing; None: it has no end."""
    made_by: str = ""
    """The id of the key that made it, or the name of one that has none; empty: a release made it that kept no maker."""
    queues: frozenset[str] = frozenset()
    """Of a key for workers: the queues that it serves; empty: all."""
    expired: bool = False
    """Whether that was so, by the database's clock, when it was read."""
