"""API keys: created, found by their public id, listed, revoked. A revoked key is kept, unlike an unknown one."""

import builtins
import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, false, func, insert, select, update

from agent_runner.status.api_keys import ApiKey, Scope
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.rows import dumps
from agent_runner.status.store.schema import api_keys
from agent_runner.status.store.verbs import reads, writes

K = api_keys.c


class ApiKeys(Transactions):
    @writes
    def add_key(
        self,
        connection: Connection,
        *,
        id: str,
        name: str,
        scopes: Iterable[Scope],
        org: str,
        digest: str,
        made_by: str = "",
        queues: Iterable[str] = (),
        expires_in_s: float | None = None,
        expires_at: float | None = None,
    ) -> ApiKey:
        """Create a key. It expires `expires_in_s` seconds from now, or at `expires_at`, or never."""
        values: dict[str, Any] = {
            "id": id,
            "name": name,
            "scopes": _text(scopes),
            "org": org,
            "digest": digest,
            "queues": dumps(sorted(queues)),
            "created_at": NOW,
        }
        values |= {"made_by": made_by, "expires_at": expires_at if expires_in_s is None else NOW + expires_in_s}
        statement = insert(api_keys).values(**values).returning(api_keys)
        return _record(connection.execute(statement, self.params()).one())

    @reads
    def find_key(self, connection: Connection, id: str) -> ApiKey | None:
        """The key with this public id, also if it was revoked or has expired."""
        expired = func.coalesce(K.expires_at <= NOW, false()).label("expired")
        query = select(api_keys, expired).where(K.id == id)
        row = connection.execute(query, self.params()).one_or_none()
        return _record(row) if row else None

    @reads
    def list_keys(self, connection: Connection, *, org: str = "") -> builtins.list[ApiKey]:
        """Newest first, with those that were revoked. An empty `org` means the keys of all orgs."""
        query = select(api_keys).order_by(K.created_at.desc(), K.id.desc())
        rows = connection.execute(query.where(K.org == org) if org else query)
        return [_record(row) for row in rows]

    @writes
    def revoke_key(self, connection: Connection, id: str) -> ApiKey | None:
        """From now on the key is refused. A second call changes nothing; None when there is no such key."""
        statement = update(api_keys).where(K.id == id).values(revoked_at=func.coalesce(K.revoked_at, NOW))
        row = connection.execute(statement.returning(api_keys), self.params()).one_or_none()
        return _record(row) if row else None

    @writes
    def key_used(self, connection: Connection, id: str) -> None:
        """Record that the key was used now."""
        connection.execute(update(api_keys).where(K.id == id).values(last_used_at=NOW), self.params())


def _text(scopes: Iterable[Scope]) -> str:
    return " ".join(sorted(scope.value for scope in scopes))


def _record(row: Row[Any]) -> ApiKey:
    values = dict(row._mapping)
    values["expired"] = bool(values.get("expired"))
    scopes = frozenset(Scope(scope) for scope in values["scopes"].split())
    return ApiKey(**{**values, "scopes": scopes, "queues": frozenset(json.loads(values["queues"]))})
