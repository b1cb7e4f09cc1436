"""Light rows of executions for lists that people look at, counts by phase, and what changed lately.

A row is read from the columns of the execution, the first row of its log and its labels. Its document and its
conversation, which may be large, are not touched.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, func, literal, select, union_all

from agent_runner.status.brief import content_of
from agent_runner.status.phases import Phase
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.ending import OPEN
from agent_runner.status.store.lists.queries import ExecutionQuery
from agent_runner.status.store.lists.selection import Selection, handle_in, page_of, selection, token_after
from agent_runner.status.store.lists.summary_records import PhaseCounts, Summary, SummaryPage
from agent_runner.status.store.paging import COUNTED, size_of
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.schema import execution_labels, execution_log, executions, resources
from agent_runner.status.store.verbs import Orgs, reads

E = executions.c
FIRST_CHARS = 2048
"""How much of the first row of a log is read: the fields before the text, and the beginning of the text."""
MESSAGE_CHARS = 120
MAX_LABELS = 8
"""A line of a list shows so many."""
MOST_CHANGED = 200
MOST_ASKED = 1000
_COLUMNS = (
    E.handle, E.id, E.phase, E.error_code, E.agent_id, E.graph, E.session_id, E.created_at, E.dispatchable_at,
    E.claimed_at, E.completed_at, E.progress, E.owner_name, E.attempt, E.waiting,
)  # fmt: skip


class Summaries(Transactions):
    @reads(orgs=Orgs.QUERY)
    def summaries(self, connection: Connection, query: ExecutionQuery) -> SummaryPage:
        """One page. Raises `ValueError` for a page token that is not ours."""
        before = handle_in(query.page_token) if query.page_token else None
        found = page_of(connection, selection(connection, query), size_of(query.page_size), before=before)
        return SummaryPage(rows=_rows(connection, found.handles), next_token=token_after(found.next))

    @reads(orgs=Orgs.QUERY)
    def summaries_of(self, connection: Connection, query: ExecutionQuery) -> Sequence[Summary]:
        """The executions of `query.more.ids` that match, in whatever phase they are; newest first."""
        chosen = selection(connection, query, phases=False)
        known = connection.scalars(select(E.handle).where(E.id.in_(query.more.ids[:MOST_ASKED])))
        given = [*chosen.conditions, chosen.key.in_(known.all())]
        found = page_of(connection, _among(chosen, given), MOST_ASKED, before=None)
        return _rows(connection, found.handles)

    @reads(orgs=Orgs.QUERY)
    def phase_numbers(self, connection: Connection, query: ExecutionQuery) -> PhaseCounts:
        """How many are in each phase, whatever phases the query names. Counts up to `COUNTED`: of each phase where
        nothing else is asked for, else of all of them, the newest first."""
        chosen = selection(connection, query, phases=False)
        if chosen.text:
            found = page_of(connection, chosen, COUNTED, before=None)
            return _counted(connection, found.handles, more=found.next is not None)
        if chosen.narrow:
            newest = chosen.newest_phases(COUNTED + 1).subquery().c
            of = select(newest.phase, func.count().label("n")).group_by(newest.phase)
            told = {Phase(row.phase): int(row.n) for row in connection.execute(of)}
            return PhaseCounts(phases=told, more=sum(told.values()) > COUNTED)
        each = (select(E.phase).where(E.phase == phase).limit(COUNTED).subquery() for phase in Phase)
        counts = (
            select(literal(int(phase)).label("phase"), func.count().label("n")).select_from(one)
            for phase, one in zip(Phase, each, strict=True)
        )
        told = {Phase(row.phase): int(row.n) for row in connection.execute(union_all(*counts)) if row.n}
        return PhaseCounts(phases=told, more=max(told.values(), default=0) >= COUNTED)

    @reads
    def changed_lately(self, connection: Connection, within_s: float) -> list[tuple[str, Phase]]:
        """The id and the phase of what was created, claimed or ended in the last `within_s` seconds: at most
        `MOST_CHANGED` of each. Every part is the end of an index."""
        since, newest = NOW - within_s, select(E.id, E.phase, E.created_at).order_by(E.handle.desc())
        new = newest.limit(MOST_CHANGED).subquery()
        parts = (
            select(new.c.id, new.c.phase).where(new.c.created_at >= since),
            select(E.id, E.phase).where(OPEN, E.phase == Phase.IN_PROGRESS, E.claimed_at >= since).limit(MOST_CHANGED),
            select(E.id, E.phase).where(E.completed_at >= since).order_by(E.completed_at.desc()).limit(MOST_CHANGED),
        )
        found = (row for part in parts for row in connection.execute(part, self.params()))
        return list(dict.fromkeys((row.id, Phase(row.phase)) for row in found))


def _among(chosen: Selection, given: Sequence[Any]) -> Selection:
    return Selection(chosen.source, chosen.key, given, (), chosen.text)


def _counted(connection: Connection, handles: Sequence[int], *, more: bool) -> PhaseCounts:
    query = select(E.phase, func.count().label("n")).where(E.handle.in_(handles)).group_by(E.phase)
    told = {Phase(row.phase): int(row.n) for row in connection.execute(query)}
    return PhaseCounts(phases=told, more=more)


def _rows(connection: Connection, handles: Sequence[int]) -> list[Summary]:
    if not handles:
        return []
    log = execution_log.c
    first = select(log.handle, func.substr(log.payload, 1, FIRST_CHARS).label("payload"))
    said = {
        row.handle: content_of(row.payload)
        for row in connection.execute(first.where(log.handle.in_(handles), log.seq == 1))
    }
    labels = _labels(connection, handles)
    rows = connection.execute(select(*_COLUMNS).where(E.handle.in_(handles)).order_by(E.handle.desc())).all()
    agents = _slugs(connection, {row.agent_id for row in rows})
    return [
        _summary(row, said.get(row.handle, ""), agents.get(row.agent_id, row.agent_id), labels.get(row.handle, {}))
        for row in rows
    ]


def _labels(connection: Connection, handles: Sequence[int]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    column = execution_labels.c
    query = select(execution_labels).where(column.handle.in_(handles)).order_by(column.handle, column.label)
    for row in connection.execute(query):
        mine = found.setdefault(row.handle, {})
        key, _, value = row.label.partition(":")
        if len(mine) < MAX_LABELS:
            mine[key] = value
    return found


def _slugs(connection: Connection, agents: Collection[str]) -> dict[str, str]:
    kind = resources.c.kind == ResourceKind.AGENT.value
    found = connection.execute(select(resources.c.id, resources.c.slug).where(kind, resources.c.id.in_(agents)))
    return {row.id: row.slug for row in found}


def _summary(row: Row[Any], said: str, agent: str, labels: dict[str, str]) -> Summary:
    progress = json.loads(row.progress) if row.progress != "{}" else {}
    begun = row.claimed_at
    first = begun is not None and row.attempt <= 1 and row.dispatchable_at is not None
    return Summary(
        id=row.id,
        phase=Phase(row.phase),
        code=row.error_code,
        message=said if len(said) <= MESSAGE_CHARS else said[: MESSAGE_CHARS - 1] + "…",
        agent=agent,
        graph=row.graph,
        session_id=row.session_id,
        created_at=row.created_at,
        started_at=begun,
        ended_at=row.completed_at,
        wait_s=max(0.0, begun - row.dispatchable_at) if first else None,
        input_tokens=progress.get("input_tokens"),
        output_tokens=progress.get("output_tokens"),
        cost=progress.get("cost"),
        worker=row.owner_name if begun is not None else "",
        attempt=row.attempt,
        labels=labels,
        waiting=bool(row.waiting),
    )
