"""Threads: sessions as the Agent Server API shows them. Every session is one; its own facts come from `threads`, if a
row is there, and everything else from the session, its executions and its memory's head."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Row,
    Select,
    and_,
    case,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from agent_runner.status.phases import Phase
from agent_runner.status.store.clock import NOW, latest
from agent_runner.status.store.driver.ready import Ready, ready, seconds, text_of
from agent_runner.status.store.driver.transaction import SHORT_BYTES, Connection
from agent_runner.status.store.executions.ending import OPEN, E
from agent_runner.status.store.lists.queries import Query
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.registry.json_conditions import contains
from agent_runner.status.store.registry.resources import Resources
from agent_runner.status.store.rows import dumps
from agent_runner.status.store.schema import executions, resources, session_facts, threads
from agent_runner.status.store.verbs import Orgs, reads, writes

R, F, T = resources.c, session_facts.c, threads.c
_last = executions.alias("last")
L = _last.c
_NEVER_RAN = and_(E.phase == int(Phase.CANCELLED), E.attempt == 0)
_NEWEST = (
    select(func.max(E.handle))
    .where(E.session_id == R.id, E.rolled_back == 0, not_(_NEVER_RAN))
    .correlate(resources)
    .scalar_subquery()
)
"""An execution that was cancelled while it waited says nothing about its thread."""
_ALL = (
    resources.outerjoin(threads, T.session_id == R.id)
    .outerjoin(session_facts, F.session_id == R.id)
    .outerjoin(_last, L.handle == _NEWEST)
)


class ThreadStatus(Enum):
    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"


_KNOWN = and_(T.state_checkpoint_id == F.head_checkpoint_id, T.state_checkpoint_id != "")
"""What `threads` says of the state is of the present head."""
_STATUS = case(
    (exists().where(E.session_id == R.id, OPEN).correlate(resources), ThreadStatus.BUSY.value),
    (and_(_KNOWN, T.by_hand == 1, T.stopped == 1), ThreadStatus.INTERRUPTED.value),
    (and_(_KNOWN, T.by_hand == 1), ThreadStatus.IDLE.value),
    (L.phase == int(Phase.FAILED), ThreadStatus.ERROR.value),
    (and_(_KNOWN, T.stopped == 1), ThreadStatus.INTERRUPTED.value),
    (_KNOWN, ThreadStatus.IDLE.value),
    (L.waiting == 1, ThreadStatus.INTERRUPTED.value),
    (and_(L.phase == int(Phase.CANCELLED), L.attempt > 0), ThreadStatus.INTERRUPTED.value),
    else_=ThreadStatus.IDLE.value,
)
_CREATED = func.coalesce(T.created_at, R.created_at)
_CHANGED = latest(
    func.coalesce(T.updated_at, R.created_at), func.coalesce(L.created_at, 0.0), func.coalesce(L.completed_at, 0.0)
)
SORTED_BY = {
    "thread_id": R.id,
    "status": _STATUS,
    "created_at": _CREATED,
    "updated_at": _CHANGED,
    "state_updated_at": func.coalesce(T.state_updated_at, _CHANGED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """`metadata`, `config`, `ttl`: of the client. `graph`, `last_execution_id`: of the newest execution, if any."""

    session_id: str
    org: str
    status: ThreadStatus
    created_at: float
    updated_at: float
    metadata: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    ttl: dict[str, Any] | None = None
    expires_at: float | None = None
    state_updated_at: float | None = None
    state: dict[str, Any] | None = None
    """What a worker last told of the memory. It counts only if it is of the present head."""
    state_checkpoint_id: str = ""
    stopped: bool = False
    graph: str = ""
    agent_id: str = ""
    last_execution_id: str = ""
    last_phase: Phase | None = None
    memory_id: str = ""
    """The id under which the checkpoint store has it; empty before the first run."""
    head_checkpoint_id: str = ""
    made: tuple[Resource, Resource] | None = None
    """Its session and its agent, if it was made a moment ago and not read since: then its times are not known."""

    @property
    def known_state(self) -> dict[str, Any] | None:
        """The stored state, if it is that of the head."""
        return self.state if self.head_checkpoint_id and self.state_checkpoint_id == self.head_checkpoint_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadQuery(Query):
    ids: Sequence[str] | None = None
    """Session ids."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    status: ThreadStatus | None = None
    limit: int = 10
    offset: int = 0
    sort_by: str = "updated_at"
    ascending: bool = False
    untold: bool = False
    """Only those whose present state no worker has told yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewThread:
    session_id: str
    org: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    ttl: Mapping[str, Any] | None = None
    expires_in_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadState:
    """The memory of a session at one checkpoint, as a worker tells it: a State of the Agent Server API."""

    session_id: str
    checkpoint_id: str
    state: Mapping[str, Any]
    stopped: bool
    """Nodes are left to run next."""
    memory_id: str = ""
    """The id of the thread in the checkpoint store, for a session that had none."""


class Threads(Resources):
    @reads(orgs=Orgs.FINDS, short=True)
    def thread(self, connection: Connection, session_id: str) -> Thread | None:
        if (connection.first(_state_bytes(), its_session=session_id) or 0) > SHORT_BYTES:
            connection.may_last()
        row = connection.one(_by_id(), its_session=session_id)
        return _to_thread(row) if row else None

    @reads(orgs=Orgs.QUERY)
    def search_threads(self, connection: Connection, query: ThreadQuery) -> list[Thread]:
        column = SORTED_BY[query.sort_by]
        order = column.asc() if query.ascending else column.desc()
        found = _selected().where(*self._wanted(query)).order_by(order, R.id.desc())
        return [_to_thread(row) for row in connection.execute(found.limit(query.limit).offset(query.offset))]

    @reads(orgs=Orgs.QUERY)
    def count_threads(self, connection: Connection, query: ThreadQuery) -> int:
        counted = select(func.count()).select_from(_ALL).where(_IS_SESSION, *self._wanted(query))
        return connection.scalar(counted) or 0

    @writes(orgs=Orgs.WRITES, short=True)
    def make_thread(self, connection: Connection, session: Resource, new: NewThread) -> Resource:
        """A new session with the client's facts of it. Returns the stored session. Raises `SlugTaken`."""
        made = self.put_in(connection, session, None)
        self._put(connection, new)
        return made

    def _put(self, connection: Connection, new: NewThread) -> None:
        """The client's facts of a session; nothing changes if it has some already."""
        metadata, config = dumps(dict(new.metadata)), dumps(dict(new.config))
        if len(metadata) + len(config) > SHORT_BYTES:
            connection.may_last()
        expires = new.expires_in_s is not None
        connection.run(
            _NEW[self.is_sqlite, expires],
            **self.params(**({"in_s": new.expires_in_s} if expires else {})),
            session_id=new.session_id,
            org=new.org,
            metadata=metadata,
            config=config,
            ttl=None if new.ttl is None else dumps(dict(new.ttl)),
        )

    @writes(orgs=Orgs.WRITES, short=True)
    def patch_thread(self, connection: Connection, change: NewThread) -> None:
        """Merge metadata and config, key by key; a ttl replaces the old one. Makes the row if the session has none."""
        self._put(connection, NewThread(session_id=change.session_id, org=change.org))
        row = connection.one(_held(sqlite=self.is_sqlite), its_session=change.session_id)
        if row is None:
            return
        metadata = dumps({**json.loads(row.metadata), **change.metadata}) if change.metadata else row.metadata
        config = dumps({**json.loads(row.config), **change.config}) if change.config else row.config
        if len(metadata) + len(config) > SHORT_BYTES:
            connection.may_last()
        ttl, in_s = row.ttl, change.expires_in_s
        if change.ttl is not None:
            ttl = dumps(dict(change.ttl))
        elif (minutes := (json.loads(ttl) if ttl else {}).get("ttl")) is not None:
            in_s = float(minutes) * 60  # it is used, so its time begins again
        keeps = in_s is None and change.ttl is None
        connection.run(
            _patched(expires=in_s is not None, keeps=keeps),
            **self.params(**({} if in_s is None else {"in_s": in_s})),
            its_session=change.session_id,
            its_metadata=metadata,
            its_config=config,
            its_ttl=ttl,
        )

    @writes(orgs=Orgs.AFTER_A_READ)
    def keep_state(self, connection: Connection, told: ThreadState, org: str, *, moves_from: str | None = None) -> bool:
        """Note the state at the head, so that the next read needs no worker. With `moves_from` the head moves from that
        checkpoint to this one. False, and nothing changes, if the head is another one or an execution is open."""
        facts = F.session_id == told.session_id
        held = select(session_facts).where(facts)
        row = connection.execute(held if self.is_sqlite else held.with_for_update()).one_or_none()
        self._put(connection, NewThread(session_id=told.session_id, org=org))
        if moves_from is not None:
            is_open = select(E.handle).where(E.session_id == told.session_id, OPEN).limit(1)
            head = row.head_checkpoint_id if row else ""
            if head != moves_from or connection.scalar(is_open) is not None:
                return False
            if row is None:
                first = {"session_id": told.session_id, "thread_id": told.memory_id, "sandbox_id": told.session_id}
                connection.execute(insert(session_facts).values(used_at=NOW, **first), self.params())
            elif not row.thread_id:
                connection.execute(update(session_facts).where(facts).values(thread_id=told.memory_id))
            moved = update(session_facts).where(facts).values(head_checkpoint_id=told.checkpoint_id, used_at=NOW)
            connection.execute(moved, self.params())
            waits = (E.session_id == told.session_id, E.waiting == 1)
            connection.execute(update(executions).where(*waits).values(waiting=0))
        elif row is None or row.head_checkpoint_id != told.checkpoint_id:
            return False
        values: dict[str, Any] = {
            "state": dumps(dict(told.state)),
            "state_checkpoint_id": told.checkpoint_id,
            "stopped": int(told.stopped),
            "by_hand": int(moves_from is not None),
            "state_updated_at": NOW,
        }
        if moves_from is not None:
            values["updated_at"] = NOW
        mine = update(threads).where(T.session_id == told.session_id)
        connection.execute(mine.values(**values), self.params())
        return True

    @reads
    def expired_threads(self, connection: Connection, limit: int = 100) -> list[str]:
        """Session ids of threads whose time is over."""
        over = select(T.session_id).where(T.expires_at <= NOW).order_by(T.expires_at).limit(limit)
        return list(connection.scalars(over, self.params()))

    def _wanted(self, query: ThreadQuery) -> list[ColumnElement[bool]]:
        given: list[ColumnElement[bool]] = []
        if query.orgs:
            given.append(R.org.in_(query.orgs))
        if query.ids is not None:
            given.append(R.id.in_(query.ids))
        if query.status is not None:
            given.append(_STATUS == query.status.value)  # noqa: SIM300 - a column
        if query.untold:
            given.append(and_(func.coalesce(F.head_checkpoint_id, "") != "", not_(func.coalesce(_KNOWN, False))))
        if query.values:
            given.append(contains(func.coalesce(T.state, "{}"), {"values": query.values}, sqlite=self.is_sqlite))
        metadata = dict(query.metadata)
        graph = metadata.pop("graph_id", None)
        if graph is not None:
            named = contains(func.coalesce(T.metadata, "{}"), {"graph_id": graph}, sqlite=self.is_sqlite)
            given.append(or_(named, L.graph == str(graph)))
        if metadata:
            given.append(contains(func.coalesce(T.metadata, "{}"), metadata, sqlite=self.is_sqlite))
        return given


_IS_SESSION = R.kind == ResourceKind.SESSION.value


@ready
def _by_id() -> ClauseElement:
    return _selected().where(R.id == text_of("its_session"))


@ready
def _held(*, sqlite: bool) -> ClauseElement:
    found = select(T.metadata, T.config, T.ttl).where(T.session_id == text_of("its_session"))
    return found if sqlite else found.with_for_update()


@ready
def _patched(*, expires: bool, keeps: bool) -> ClauseElement:
    """`expires`: after `in_s`; else never, or as before if it `keeps` that."""
    expiry: dict[str, Any] = {} if keeps else {"expires_at": NOW + seconds("in_s") if expires else None}
    texts = {name: text_of(f"its_{name}") for name in ("metadata", "config", "ttl")}
    mine = T.session_id == text_of("its_session")
    return update(threads).where(mine).values(**texts, **expiry, updated_at=NOW)


@ready
def _state_bytes() -> ClauseElement:
    return select(func.length(T.state)).where(T.session_id == text_of("its_session"))


def _new(*, sqlite: bool, expires: bool) -> Ready:
    upsert: Any = sqlite_insert if sqlite else postgres_insert
    expiry = {"expires_at": NOW + seconds("in_s")} if expires else {}
    values = upsert(threads).values(**expiry, created_at=NOW, updated_at=NOW)
    given = ("session_id", "org", "metadata", "config", "ttl")
    return Ready(values.on_conflict_do_nothing(index_elements=["session_id"]), columns=given)


_NEW = {
    (sqlite, expires): _new(sqlite=sqlite, expires=expires) for sqlite in (True, False) for expires in (True, False)
}
"""The row of a session that had none, by the dialect and by whether it expires."""


def _selected() -> Select[Any]:
    return (
        select(
            R.id.label("session_id"),
            R.org,
            _STATUS.label("status"),
            _CREATED.label("created_at"),
            _CHANGED.label("updated_at"),
            *(T[name] for name in ("metadata", "config", "ttl", "expires_at", "state_updated_at", "state")),
            func.coalesce(T.state_checkpoint_id, "").label("state_checkpoint_id"),
            func.coalesce(T.stopped, 0).label("stopped"),
            func.coalesce(L.graph, "").label("graph"),
            func.coalesce(L.agent_id, "").label("agent_id"),
            func.coalesce(L.id, "").label("last_execution_id"),
            L.phase.label("last_phase"),
            func.coalesce(F.thread_id, "").label("memory_id"),
            func.coalesce(F.head_checkpoint_id, "").label("head_checkpoint_id"),
        )
        .select_from(_ALL)
        .where(_IS_SESSION)
    )


def _to_thread(row: Row[Any]) -> Thread:
    r = row._asdict()
    loaded = {name: json.loads(r.pop(name) or "{}") for name in ("metadata", "config")}
    return Thread(
        **loaded,
        status=ThreadStatus(r.pop("status")),
        ttl=json.loads(text) if (text := r.pop("ttl")) else None,
        state=json.loads(text) if (text := r.pop("state")) else None,
        stopped=bool(r.pop("stopped")),
        last_phase=None if (phase := r.pop("last_phase")) is None else Phase(phase),
        **r,
    )
