"""API keys: finds the principal of `Authorization: Bearer <key>`, makes keys and revokes them.

The key of the environment (STIGMER_API_KEY) has all scopes and all orgs, and needs no look-up. All others look like
`ark_<id>_<secret>`. The store has their id and a digest; for 256 random bits a plain digest is enough.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from agent_runner.app.server.access.principal import Principal, actor, current, must_own
from agent_runner.app.server.access.scopes import may_grant
from agent_runner.app.server.after_response import Soon
from agent_runner.app.server.problems import Kind, Problem, invalid, not_found
from agent_runner.status.api_keys import ApiKey, Scope
from agent_runner.status.store.errors import StoreError, StoreUnavailable
from agent_runner.status.store.store import Store

SCHEME, PREFIX = "bearer", "ark"
FRESH_S = 3.0
"""A key that was read is used this long without a new query. A revocation takes effect within this time."""
USED_EVERY_S = 60.0
MOST_KNOWN = 10_000
OF_ENVIRONMENT = Principal(name="STIGMER_API_KEY", scopes=frozenset(Scope))


@dataclass(frozen=True, slots=True)
class _CachedKey:
    since: float
    found: asyncio.Task[ApiKey | None]


class Keys:
    """One object per process. It remembers the keys that it has read."""

    def __init__(self, store: Store, environment_key: str) -> None:
        self._store = store
        self._environment_key = environment_key.encode()
        self._known: dict[str, _CachedKey] = {}
        self._used: dict[str, float] = {}
        self.reading = Soon()
        """The tasks that read and write keys. They must end before the store is closed."""

    async def principal(self, authorization: str | None) -> Principal:
        """The principal of this header value. Raises UNAUTHENTICATED."""
        scheme, _, rest = (authorization or "").partition(" ")
        given = rest.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() != SCHEME or not given:
            raise unauthenticated()
        if self._environment_key and hmac.compare_digest(given, self._environment_key):
            return OF_ENVIRONMENT
        key = await self._find(_id_of(given))
        if key is None or not hmac.compare_digest(key.digest, _digest(given)):
            raise unauthenticated()
        _check_valid(key)
        self._note_use(key.id)
        return Principal(
            name=key.name,
            scopes=key.scopes,
            org=key.org,
            key_id=key.id,
            queues=key.queues,
            expires_at=key.expires_at,
        )

    async def confirm(self) -> None:
        """Checks that the caller's key is still valid. Streams do so again and again. Raises UNAUTHENTICATED."""
        key_id = current().key_id
        if not key_id:
            return
        try:
            key = await self._find(key_id)
        except StoreUnavailable:
            return  # the store is away: the key counts as valid
        if key is None:
            raise unauthenticated()
        _check_valid(key)

    async def make(
        self,
        *,
        name: str,
        scopes: Iterable[Scope],
        org: str = "",
        queues: Iterable[str] = (),
        expires_in_s: float | None = None,
    ) -> tuple[ApiKey, str]:
        """Makes a key. Returns its record and the key itself, which is shown now and never again.

        A key can do no more than the key that makes it, and ends no later. Raises PERMISSION_DENIED, INVALID_ARGUMENT.
        """
        org, scopes = org or current().org, frozenset(scopes)
        must_own(org)
        _must_have(scopes)
        if org and Scope.RUNNER in scopes:
            raise invalid("scopes: a runner takes work of all orgs, so a key with the scope 'runner' has no org")
        queues = _queues_of(scopes, queues)
        id = secrets.token_hex(8)
        key = f"{PREFIX}_{id}_{secrets.token_hex(32)}"
        made = await self._store.add_key(
            id=id,
            name=name,
            scopes=scopes,
            org=org,
            digest=_digest(key.encode()),
            made_by=actor(),
            queues=queues,
            expires_in_s=expires_in_s,
            expires_at=current().expires_at,
        )
        return await self._ended_in_time(made), key

    async def _ended_in_time(self, made: ApiKey) -> ApiKey:
        """Checks the end that the database's clock has set. Revokes a key that would outlive its maker, and raises."""
        limit = current().expires_at
        if limit is None or (made.expires_at is not None and made.expires_at <= limit):
            return made
        await self._store.revoke_key(made.id)
        raise Problem(
            Kind.PERMISSION_DENIED,
            f"the key '{current().name}' ends before the one that it was to make",
            next_step="Give it a shorter time (--expires), or none: then it ends with the key that makes it.",
        )

    async def listed(self) -> list[ApiKey]:
        """The keys of the caller's org, newest first, revoked ones too."""
        return await self._store.list_keys(org=current().org)

    async def revoke(self, id: str) -> ApiKey:
        """Revokes a key: on this server at once, on the others within `FRESH_S`. Raises NOT_FOUND."""
        found = await self._store.find_key(id)
        if found is None or (current().org and found.org != current().org):
            raise not_found("ApiKey", id)
        revoked = await self._store.revoke_key(id)
        self._known.pop(id, None)
        return revoked or found

    async def _find(self, id: str) -> ApiKey | None:
        if not id:
            return None
        now = time.monotonic()
        known = self._known.get(id)
        if known is None or now - known.since > FRESH_S:
            self._make_room(now)
            known = _CachedKey(now, self.reading.start(self._store.find_key(id)))
            self._known[id] = known
        try:
            # All calls with this key share the task: the end of one call must not cancel it for the others.
            return await asyncio.shield(known.found)
        except StoreError:
            if self._known.get(id) is known:
                del self._known[id]
            raise

    def _make_room(self, now: float) -> None:
        if len(self._known) >= MOST_KNOWN:
            self._known = {id: known for id, known in self._known.items() if now - known.since <= FRESH_S}
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()

    def _note_use(self, id: str) -> None:
        now = time.monotonic()
        if now - self._used.get(id, float("-inf")) < USED_EVERY_S:
            return
        self._used[id] = now
        self.reading.start(self._write_use(id))

    async def _write_use(self, id: str) -> None:
        with suppress(StoreError):  # the time of the last use is approximate anyway
            await self._store.key_used(id)


def unauthenticated(why: str = "") -> Problem:
    return Problem(
        Kind.UNAUTHENTICATED,
        why
        or "this call needs the header 'Authorization: Bearer <key>' with an API key of this server;"
        " LangGraph's clients send it as 'x-api-key'",
        next_step="Set STIGMER_API_KEY to a key of the server; that of agent-runner dev is in dev.json of its data"
        " directory.",
    )


def _check_valid(key: ApiKey) -> None:
    if key.revoked_at is not None:
        raise unauthenticated(f"the key '{key.name}' ({key.id}) was revoked")
    if key.expired:
        raise unauthenticated(f"the key '{key.name}' ({key.id}) has expired")


def _must_have(scopes: frozenset[Scope]) -> None:
    mine = current()
    if missing := sorted(scope.value for scope in scopes if not may_grant(mine.scopes, scope)):
        raise Problem(
            Kind.PERMISSION_DENIED,
            f"the key '{mine.name}' has not got the scope {', '.join(repr(each) for each in missing)} to give it away",
            next_step="Make it with a key that has these scopes; STIGMER_API_KEY of the server has all.",
        )


def _queues_of(scopes: frozenset[Scope], given: Iterable[str]) -> frozenset[str]:
    """The queues of a new key: the given ones, else those of the key that makes it.

    Raises PERMISSION_DENIED for a queue that this key does not serve, INVALID_ARGUMENT for queues without `runner`.
    """
    mine, queues = current().queues, frozenset(given)
    if Scope.RUNNER not in scopes:
        if queues:
            raise invalid("queues: only a key with the scope 'runner' serves queues")
        return frozenset()
    if mine and queues - mine:
        raise Problem(
            Kind.PERMISSION_DENIED,
            f"the key '{current().name}' does not serve the queue {min(queues - mine)!r} to give it away",
            next_step="Make it with a key that serves this queue; STIGMER_API_KEY of the server serves all.",
        )
    return queues or mine


def _id_of(given: bytes) -> str:
    """The public part of a key; empty if the text does not have the form of a key."""
    parts = given.decode("ascii", "replace").split("_")
    return parts[1] if len(parts) == 3 and parts[0] == PREFIX and parts[1].isalnum() else ""


def _digest(given: bytes) -> str:
    return hashlib.sha256(given).hexdigest()
