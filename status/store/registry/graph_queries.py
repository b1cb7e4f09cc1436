"""Questions about graphs and their memory: a server asks, a worker takes the question and answers once."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.schema import graph_queries
from agent_runner.status.store.verbs import Orgs, reads, writes

Q = graph_queries.c
KEPT_S = 60.0
"""What nobody has picked up this long after its time is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQuery:
    """`graph` of langgraph.json, or else the agent. `body`: JSON text."""

    id: str
    org: str
    kind: str
    queue: str
    body: str
    within_s: float
    graph: str = ""
    agent_id: str = ""
    thread_id: str = ""
    head_checkpoint_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAnswer:
    """`answer`: JSON text; empty for a refusal."""

    answer: str = ""
    refusal: str = ""
    refused_as: str = ""


class GraphQueries(Transactions):
    @writes(orgs=Orgs.WRITES)
    def add_query(self, connection: Connection, query: GraphQuery) -> None:
        names = ("id", "org", "kind", "queue", "body", "graph", "agent_id", "thread_id", "head_checkpoint_id")
        values = {name: getattr(query, name) for name in names}
        connection.execute(delete(graph_queries).where(Q.due_at < NOW - KEPT_S), self.params())
        new = insert(graph_queries).values(**values, due_at=NOW + query.within_s)
        connection.execute(new, self.params())

    @reads
    def find_query(self, connection: Connection, id: str) -> GraphQuery | None:
        row = connection.execute(select(graph_queries).where(Q.id == id)).one_or_none()
        return _to_query(row, 0.0) if row else None

    @writes
    def take_query(self, connection: Connection, id: str, token: str) -> GraphQuery | None:
        """For one worker only. None: it is over, or taken. `token`: the digest of what the answer has to show."""
        mine = update(graph_queries).where(Q.id == id, Q.taken_at.is_(None), Q.due_at > NOW)
        taken = mine.values(taken_at=NOW, token=token).returning(graph_queries, (Q.due_at - NOW).label("left"))
        row = connection.execute(taken, self.params()).one_or_none()
        return _to_query(row, float(row.left)) if row else None

    @writes
    def answer_query(self, connection: Connection, id: str, token: str, given: QueryAnswer) -> bool:
        """False if nobody waits for it any more, or the token is another one."""
        mine = update(graph_queries).where(Q.id == id, Q.token == token, Q.token != "", Q.answered_at.is_(None))
        values = {"answer": given.answer, "refusal": given.refusal, "refused_as": given.refused_as}
        return bool(connection.execute(mine.values(answered_at=NOW, **values), self.params()).rowcount)

    @reads(orgs=Orgs.AFTER_A_READ)
    def query_answer(self, connection: Connection, id: str) -> QueryAnswer | None:
        """None as long as there is none."""
        row = connection.execute(select(graph_queries).where(Q.id == id, Q.answered_at.is_not(None))).one_or_none()
        if row is None:
            return None
        return QueryAnswer(answer=row.answer or "", refusal=row.refusal, refused_as=row.refused_as)

    @writes(orgs=Orgs.AFTER_A_READ)
    def drop_query(self, connection: Connection, id: str) -> None:
        """Nobody waits for it any more."""
        connection.execute(delete(graph_queries).where(Q.id == id))


def _to_query(row: Row[Any], left: float) -> GraphQuery:
    names = ("id", "org", "kind", "queue", "body", "graph", "agent_id", "thread_id", "head_checkpoint_id")
    return GraphQuery(**{name: row._mapping[name] for name in names}, within_s=left)
