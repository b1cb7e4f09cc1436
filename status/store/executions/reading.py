"""Reading: facts, the log, the folded state, pages of executions. A status is snapshot + tail, at every read."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ClauseElement, Row, func, select

from agent_runner.status.brief import MAX_ENTRY_BYTES, MAX_TAGGED_BYTES, Brief
from agent_runner.status.log.log import LogRow, State
from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.briefs import briefs
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.ready import number, ready, text_of
from agent_runner.status.store.driver.transaction import SHORT_BYTES, Connection
from agent_runner.status.store.lists.queries import ExecutionQuery, Page, View
from agent_runner.status.store.lists.selection import counted, handle_in, page_of, selection, token_after
from agent_runner.status.store.paging import COUNTED, fitting, inside, size_of
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import execution_log, execution_snapshots, executions, session_facts
from agent_runner.status.store.verbs import Orgs, reads

ALL_ROWS = 1 << 62


def read_rows(
    connection: Connection, handle: int, after: int, limit: int | None, max_bytes: int | None = None
) -> list[LogRow]:
    """`max_bytes`: the last row is the one that reaches this size, so there is at least one."""
    page = {"its_handle": handle, "after": after, "most": ALL_ROWS if limit is None else limit}
    if max_bytes is not None:
        page["max_bytes"] = max_bytes
    return [
        _log_row(r, text=max_bytes is not None) for r in connection.all(_rows(bounded=max_bytes is not None), **page)
    ]


@ready
def by_id() -> ClauseElement:
    return select(executions).where(executions.c.id == text_of("its_id"))


@ready
def by_handle() -> ClauseElement:
    return select(executions).where(executions.c.handle == number("its_handle"))


@ready
def _rows(*, bounded: bool) -> ClauseElement:
    log = execution_log.c
    wanted = (log.handle == number("its_handle"), log.seq > number("after"))
    query = select(log.seq, log.at, log.fence, log.kind, log.payload).where(*wanted)
    query = query.order_by(log.seq).limit(number("most"))
    if not bounded:
        return query
    page = query.subquery("page")
    size = func.length(page.c.payload)
    weighed = select(page, (func.sum(size).over(order_by=page.c.seq) - size).label("before")).subquery("weighed")
    return select(weighed).where(weighed.c.before < number("max_bytes")).order_by(weighed.c.seq)


@ready
def _extent_of() -> ClauseElement:
    e = executions.c
    return select(e.handle, e.last_seq, e.snapshot_bytes, e.tail_bytes).where(e.id == text_of("its_id"))


@ready
def _last(*, waiting: bool) -> ClauseElement:
    e = executions.c
    chosen = [e.session_id == text_of("its_session"), *([e.waiting == 1] if waiting else [])]
    return select(executions).where(*chosen).order_by(e.handle.desc()).limit(1)


@ready
def _last_id() -> ClauseElement:
    e = executions.c
    return select(e.id).where(e.session_id == text_of("its_session")).order_by(e.handle.desc()).limit(1)


@ready
def _head_of() -> ClauseElement:
    facts = session_facts.c
    return select(facts.head_checkpoint_id).where(facts.session_id == text_of("its_session"))


@ready
def _facts() -> ClauseElement:
    return select(session_facts).where(session_facts.c.session_id == text_of("its_session"))


@ready
def _now() -> ClauseElement:
    return select(NOW)


@ready
def _snapshot() -> ClauseElement:
    kept = execution_snapshots.c
    return select(kept.seq, kept.state).where(kept.handle == number("its_handle"))


def is_long(row: Row[Any]) -> bool:
    """Whether its log is too much to be folded on the event loop."""
    return bool(row.snapshot_bytes + row.tail_bytes > SHORT_BYTES)


def folded(connection: Connection, handle: int) -> State:
    """The state after the last row that this transaction sees."""
    snapshot = connection.one(_snapshot(), its_handle=handle)
    state = State.from_json(json.loads(snapshot.state)) if snapshot else State.empty()
    for row in read_rows(connection, handle, snapshot.seq if snapshot else 0, None):
        state.apply(row)
    return state


def folded_all(connection: Connection, handles: Sequence[int]) -> list[State]:
    """`folded` for each of these handles, with two statements."""
    states = {handle: State.empty() for handle in handles}
    snapshots = select(execution_snapshots).where(execution_snapshots.c.handle.in_(handles))
    for snapshot in connection.execute(snapshots):
        states[snapshot.handle] = State.from_json(json.loads(snapshot.state))
    e, log = executions.c, execution_log.c
    tails = (
        select(execution_log)
        .join(executions, e.handle == log.handle)
        .where(e.handle.in_(handles), log.seq > e.snapshot_seq)
        .order_by(log.handle, log.seq)
    )
    for row in connection.execute(tails):
        states[row.handle].apply(_log_row(row))
    return [states[handle] for handle in handles]


def _log_row(row: Row[Any], *, text: bool = False) -> LogRow:
    """`text`: it is for readers, who are sent the payload's text as it is stored."""
    kept = row.payload if text else ""
    return LogRow(seq=row.seq, at=row.at, fence=row.fence, kind=row.kind, payload=json.loads(row.payload), text=kept)


class Reading(Transactions):
    @reads(orgs=Orgs.FINDS, alone=True, short=True)
    def get(self, connection: Connection, id: str) -> Execution | None:
        row = connection.one(by_id(), its_id=id)
        return to_execution(row) if row else None

    @reads(orgs=Orgs.FOLLOWS, short=True)
    def read_log(
        self, connection: Connection, id: str, after: int = 0, limit: int = 1000, *, max_bytes: int | None = None
    ) -> list[LogRow]:
        """Rows with a `seq` above `after`, in order; `max_bytes`: up to the row that reaches this size."""
        its = connection.one(_extent_of(), its_id=id)
        if its is None or its.last_seq <= after:
            return []
        if is_long(its):
            connection.may_last()
        return read_rows(connection, its.handle, after, limit, max_bytes)

    @reads(orgs=Orgs.FINDS, short=True)
    def state(self, connection: Connection, id: str) -> tuple[Execution, State] | None:
        """The facts and the folded content of the same moment."""
        row = connection.one(by_id(), its_id=id)
        if row is not None and is_long(row):
            connection.may_last()
        return (to_execution(row), folded(connection, row.handle)) if row else None

    @reads(orgs=Orgs.QUERY)
    def list(self, connection: Connection, query: ExecutionQuery) -> Page:
        """Newest first. Raises `ValueError` for a page token that is not ours."""
        e, chosen, size = executions.c, selection(connection, query), size_of(query.page_size)
        before = handle_in(query.page_token) if query.page_token else None
        found = page_of(connection, chosen, size, before=before, skip=(max(1, query.page) - 1) * size)
        total = counted(connection, chosen, COUNTED)
        whole_rows = select(executions).where(e.handle.in_(found.handles)).order_by(e.handle.desc())
        rows = shown = connection.execute(whole_rows).all()
        view, weights = query.view, [_weight(row, query.view) for row in shown]
        if query.max_bytes is not None and view is not View.FITTING:
            shown = shown[: fitting(weights, query.max_bytes)]
        whole = [row.handle for row in shown] if view is View.FULL else []
        if view is View.FITTING:
            fits = inside(weights, query.max_bytes)
            whole = [row.handle for row, fit in zip(shown, fits, strict=True) if fit]
        states = _contents(connection, [row.handle for row in shown], set(whole))
        return Page(
            executions=[to_execution(row) for row in shown],
            states=states,
            next_token=token_after(shown[-1].handle if len(shown) < len(rows) else found.next),
            total=total,
            page_size=size,
        )

    @reads(orgs=Orgs.FINDS, alone=True, short=True)
    def last_of_session(self, connection: Connection, session_id: str, *, waiting: bool = False) -> Execution | None:
        """The newest execution of a session; with `waiting` the one whose questions are open."""
        row = connection.one(_last(waiting=waiting), its_session=session_id)
        return to_execution(row) if row else None

    @reads(orgs=Orgs.AFTER_A_READ, short=True)
    def session_memory(self, connection: Connection, session_id: str) -> tuple[str, str]:
        """(head checkpoint id of a session, id of its newest execution); empty strings where there is none."""
        head = connection.first(_head_of(), its_session=session_id)
        last = connection.first(_last_id(), its_session=session_id)
        return (head or "", last or "") if session_id else ("", "")

    @reads(orgs=Orgs.AFTER_A_READ, alone=True, short=True)
    def session_facts(self, connection: Connection, session_id: str) -> tuple[str, str, str]:
        """(thread id, head checkpoint id, sandbox id); an empty string for an id that is not known."""
        row = connection.one(_facts(), its_session=session_id)
        return (row.thread_id, row.head_checkpoint_id, row.sandbox_id) if row else ("", "", "")

    @reads(orgs=Orgs.NOBODYS)
    def phase_counts(self, connection: Connection) -> dict[Phase, int]:
        """How many executions are in each open phase."""
        e = executions.c
        query = (
            select(e.phase, func.count().label("n")).where(e.step != Step.SETTLED.value, e.phase < 3).group_by(e.phase)
        )
        return {Phase(row.phase): row.n for row in connection.execute(query)}

    @reads(orgs=Orgs.NOBODYS)
    def oldest_open_s(self, connection: Connection) -> float:
        """The age of the oldest execution that has not ended, in seconds by the database's clock; 0 without one."""
        oldest = select(NOW - func.min(executions.c.created_at)).where(executions.c.phase < 3)
        return max(0.0, connection.scalar(oldest, self.params()) or 0.0)

    @reads(orgs=Orgs.NOBODYS, alone=True)
    def now(self, connection: Connection) -> float:
        """The database's clock, in epoch seconds; ages are computed with it."""
        return float(connection.first(_now(), **self.params()))

    @reads(orgs=Orgs.NOBODYS)
    def ping(self, connection: Connection) -> None:
        """Raises `StoreUnavailable` when the database does not answer."""
        connection.execute(select(1))


def _weight(row: Row[Any], view: View) -> int:
    """About how many bytes the row's entry in a list has."""
    if view is View.BRIEF:
        return MAX_ENTRY_BYTES + min(len(row.spec), 3 * MAX_TAGGED_BYTES)
    return int(row.snapshot_bytes + row.tail_bytes) + len(row.spec)


def _contents(connection: Connection, handles: Sequence[int], whole: Collection[int]) -> list[State | Brief]:
    """The folded states of the executions in `whole`, and a `Brief` of each of the others."""
    kept, cut = [h for h in handles if h in whole], [h for h in handles if h not in whole]
    found: dict[int, State | Brief] = {}
    if kept:
        found |= zip(kept, folded_all(connection, kept), strict=True)
    if cut:
        found |= zip(cut, briefs(connection, cut), strict=True)
    return [found[handle] for handle in handles]
