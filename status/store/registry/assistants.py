"""Assistants: a graph or an agent with a configuration, in versions. The default assistant of a graph has no row until
somebody changes it, and then one for each org."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ClauseElement, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.ready import ready, text_of
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import SlugTaken
from agent_runner.status.store.lists.queries import Query
from agent_runner.status.store.rows import dumps
from agent_runner.status.store.schema import assistants
from agent_runner.status.store.verbs import Orgs, reads, writes

A = assistants.c
MOST = 10_000
"""The most assistants that one search looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assistant:
    """One version. `version` 0 and the times 0: it is not stored yet."""

    org: str
    id: str
    graph: str
    name: str
    description: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    first_made_at: float = 0.0
    """Of its first version."""
    created_at: float = 0.0
    """Of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantQuery(Query):
    graph: str = ""


class Assistants(Transactions):
    @reads(orgs=Orgs.FINDS, alone=True, short=True)
    def find_assistant(self, connection: Connection, id: str, org: str) -> Assistant | None:
        """The latest version; if several orgs have this id, that of `org`."""
        row = connection.one(_latest(), its_id=id, its_org=org)
        return _to_assistant(row) if row else None

    @reads(orgs=Orgs.QUERY)
    def search_assistants(self, connection: Connection, query: AssistantQuery) -> list[Assistant]:
        """The latest versions, newest assistant first, at most `MOST`."""
        found = select(assistants).where(A.is_latest == 1).order_by(A.first_made_at.desc(), A.id).limit(MOST)
        if query.orgs:
            found = found.where(A.org.in_(query.orgs))
        if query.graph:
            found = found.where(A.graph == query.graph)
        return [_to_assistant(row) for row in connection.execute(found)]

    @reads(orgs=Orgs.AFTER_A_READ)
    def assistant_versions(self, connection: Connection, org: str, id: str) -> list[Assistant]:
        """All versions, the newest first."""
        found = select(assistants).where(A.org == org, A.id == id).order_by(A.version.desc())
        return [_to_assistant(row) for row in connection.execute(found)]

    @writes(orgs=Orgs.WRITES)
    def put_assistant(self, connection: Connection, new: Assistant, *, first: bool) -> Assistant:
        """A new version, which becomes the latest. `first`: raises `SlugTaken` if the org has an assistant with this
        id."""
        mine = (A.org == new.org, A.id == new.id)
        newest = select(func.max(A.version), func.min(A.first_made_at)).where(*mine)
        last, made_at = tuple(connection.execute(newest).one())
        if first and last is not None:
            raise SlugTaken(f"an assistant with the id {new.id} exists")
        connection.execute(update(assistants).where(*mine).values(is_latest=0))
        body = {name: getattr(new, name) for name in ("description", "config", "context", "metadata")}
        values = insert(assistants).values(
            org=new.org,
            id=new.id,
            version=max(last or 0, new.version) + 1,
            is_latest=1,
            graph=new.graph,
            name=new.name,
            body=dumps(body),
            first_made_at=made_at or new.first_made_at or NOW,
            created_at=NOW,
        )
        try:
            row = connection.execute(values.returning(assistants), self.params()).one()
        except IntegrityError as error:
            raise SlugTaken(f"an assistant with the id {new.id} was changed at the same time") from error
        return _to_assistant(row)

    @writes(orgs=Orgs.WRITES)
    def latest_assistant(self, connection: Connection, chosen: Assistant) -> bool:
        """Make this version the latest one. False if it does not exist."""
        mine = (A.org == chosen.org, A.id == chosen.id)
        there = connection.scalar(select(A.version).where(*mine, A.version == chosen.version))
        if there is None:
            return False
        connection.execute(update(assistants).where(*mine).values(is_latest=0))
        this = update(assistants).where(*mine, A.version == chosen.version)
        connection.execute(this.values(is_latest=1))
        return True

    @writes(orgs=Orgs.WRITES)
    def delete_assistant(self, connection: Connection, gone: Assistant) -> bool:
        """With all its versions. False if it has no row."""
        statement = delete(assistants).where(A.org == gone.org, A.id == gone.id)
        return bool(connection.execute(statement).rowcount)


@ready
def _latest() -> ClauseElement:
    its = (A.id == text_of("its_id"), A.is_latest == 1)
    return select(assistants).where(*its).order_by((A.org == text_of("its_org")).desc(), A.org).limit(1)


def _to_assistant(row: Row[Any]) -> Assistant:
    copied = {n: getattr(row, n) for n in ("org", "id", "graph", "name", "version", "first_made_at", "created_at")}
    return Assistant(**copied, **json.loads(row.body))
