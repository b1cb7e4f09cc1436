"""API keys: what a key may do, and what is stored about it. Only the digest is stored, never the key itself."""

from dataclasses import dataclass, field
from enum import Enum


class Scope(Enum):
    """What a key may be used for. `app/server/access/scopes.py` lists the calls of each scope."""

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
    """From this time on the key is refused. None: it never expires."""
    made_by: str = ""
    """The id of the key that created this one, or the name of a creator without an id. Empty: an older release created
    the key and did not record the creator."""
    queues: frozenset[str] = frozenset()
    """For a worker's key: the queues that it may serve. Empty: all queues."""
    expired: bool = False
    """Whether `expires_at` had passed when the key was read, by the database's clock."""
