"""What is sealed: a sample that shows which secret key is in use, and the stored values that a key has to open."""

import builtins
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.schema import OPEN, executions, resources, schedules, sealing
from agent_runner.status.store.verbs import reads, writes

LOOKED_AT = 200
"""Rows of each kind, the newest: enough to see a wrong key, and no burden for the start of a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedValue:
    """`where`: the kind and the id of what holds it."""

    where: str
    sealed: bytes


class SealedValues(Transactions):
    @reads
    def sealed_sample(self, connection: Connection) -> bytes | None:
        """The sample, as the last server sealed it; None before any server with a secret key has started."""
        found: bytes | None = connection.scalar(select(sealing.c.sample).where(sealing.c.id == 1))
        return found

    @writes
    def keep_sample(self, connection: Connection, sample: bytes, *, if_first: bool) -> bytes:
        """Stores it, `if_first` only where there is none; what is stored now."""
        add = (sqlite_insert if self.is_sqlite else postgres_insert)(sealing).values(id=1, sample=sample)
        if if_first:
            connection.execute(add.on_conflict_do_nothing())
        else:
            connection.execute(add.on_conflict_do_update(index_elements=["id"], set_={"sample": sample}))
        kept: bytes | None = connection.scalar(select(sealing.c.sample).where(sealing.c.id == 1))
        return sample if kept is None else kept

    @reads
    def sealed_values(self, connection: Connection, prefix: str) -> builtins.list[SealedValue]:
        """Of the newest rows that hold any: values of resources that begin with `prefix`, requests of schedules,
        environments of executions that have not ended."""
        r, s, e = resources.c, schedules.c, executions.c
        found: list[SealedValue] = []
        holding = select(r.kind, r.id, r.body).where(r.body.contains(f'"{prefix}', autoescape=True))
        for row in connection.execute(holding.order_by(r.created_at.desc()).limit(LOOKED_AT)):
            secrets = _secrets(json.loads(row.body), prefix)
            found += [SealedValue(where=f"{row.kind} {row.id}", sealed=text.encode()) for text in secrets]
        waiting = select(s.id, s.sealed).where(s.sealed.is_not(None)).order_by(s.created_at.desc()).limit(LOOKED_AT)
        rows = connection.execute(waiting)
        found += [SealedValue(where=f"schedule {row.id}", sealed=row.sealed) for row in rows if row.sealed]
        going = select(e.id, e.sealed_env).where(OPEN, e.sealed_env.is_not(None)).order_by(e.handle.desc())
        rows = connection.execute(going.limit(LOOKED_AT))
        return found + [
            SealedValue(where=f"execution {row.id}", sealed=row.sealed_env) for row in rows if row.sealed_env
        ]


def _secrets(value: Any, prefix: str) -> Iterator[str]:
    """The sealed values of entries `{"value": ..., "is_secret": true}` in it, without the prefix."""
    if isinstance(value, dict):
        held = value.get("value")
        if value.get("is_secret") and isinstance(held, str) and held.startswith(prefix):
            yield held.removeprefix(prefix)
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _secrets(one, prefix)
