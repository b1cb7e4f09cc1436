"""Schedules: made, found, listed, changed, deleted. What fires them is `turns/firings.py`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from agent_runner.status.schedules.schedule import CatchUp, Ended, Overlap, Rules, Schedule
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import StaleVersion
from agent_runner.status.store.lists.queries import Query
from agent_runner.status.store.paging import key_of, size_of, token_of
from agent_runner.status.store.rows import dumps
from agent_runner.status.store.schema import schedules
from agent_runner.status.store.verbs import Orgs, reads, writes

S = schedules.c
LIST = "Schedule"
MOST = 10_000
"""The most schedules that one search looks at."""
_PLAIN = ("id", "org", "name", "edge", "session_id", "revision", "fired", "recorded", "last_fired_at", "made_by",
          "created_at", "updated_at")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleQuery(Query):
    edge: str | None = None
    """Only those whose request is kept in the words of this API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePage:
    schedules: list[Schedule]
    next_token: str


class Schedules(Transactions):
    @reads(orgs=Orgs.NOBODYS)
    def clock(self, connection: Connection) -> float:
        """The time by the clock that decides when schedules fire."""
        return float(connection.scalar(select(NOW), self.params()))

    @writes(orgs=Orgs.WRITES)
    def add_schedule(self, connection: Connection, new: Schedule, *, most: int) -> Schedule | None:
        """None if its org has `most` schedules."""
        if not self.is_sqlite:  # two that count at once would both find room
            key = func.hashtextextended(f"agent_runner.schedules {new.org}", 0)
            connection.execute(select(func.pg_advisory_xact_lock(key)))
        if (connection.scalar(select(func.count()).where(S.org == new.org)) or 0) >= most:
            return None
        values = _values(new) | {name: getattr(new, name) for name in ("id", "org", "edge", "made_by")}
        made = insert(schedules).values(**values, revision=1, created_at=NOW, updated_at=NOW)
        return to_schedule(connection.execute(made.returning(schedules), self.params()).one())

    @reads(orgs=Orgs.FINDS)
    def find_schedule(self, connection: Connection, id: str) -> Schedule | None:
        row = connection.execute(select(schedules).where(S.id == id)).one_or_none()
        return to_schedule(row) if row else None

    @reads(orgs=Orgs.QUERY)
    def list_schedules(self, connection: Connection, query: ScheduleQuery) -> SchedulePage:
        """Newest first: ids sort by time. Raises `ValueError` for a page token that is not ours."""
        size = size_of(query.page_size)
        found = _chosen(query).order_by(S.id.desc()).limit(size + 1)
        if query.page_token:
            found = found.where(S.id < key_of(LIST, query.page_token))
        rows = [to_schedule(row) for row in connection.execute(found)]
        more = len(rows) > size
        return SchedulePage(schedules=rows[:size], next_token=token_of(LIST, rows[size - 1].id) if more else "")

    @reads(orgs=Orgs.QUERY)
    def search_schedules(self, connection: Connection, query: ScheduleQuery) -> list[Schedule]:
        """All of them, newest first, at most `MOST`."""
        return [to_schedule(row) for row in connection.execute(_chosen(query).order_by(S.id.desc()).limit(MOST))]

    @writes(orgs=Orgs.WRITES)
    def change_schedule(self, connection: Connection, new: Schedule, *, read: Schedule) -> Schedule:
        """`read`: the schedule that `new` was made from. Raises `StaleVersion` if it was changed since, or a time of it
        was taken: a change must never bring that time back."""
        mine = (S.id == new.id, S.org == new.org, S.revision == read.revision, S.session_id == read.session_id)
        as_read = update(schedules).where(*mine, S.next_at == _next(read))
        changed = as_read.values(**_values(new), revision=S.revision + 1, updated_at=NOW, leased_until=0)
        row = connection.execute(changed.returning(schedules), self.params()).one_or_none()
        if row is None:
            raise StaleVersion(f"schedule {new.id} was changed in between, or is gone; read it again")
        return to_schedule(row)

    @writes(orgs=Orgs.WRITES)
    def delete_schedule(self, connection: Connection, gone: Schedule) -> bool:
        """With its history; what it has made stays. False if it is not there."""
        return bool(connection.execute(delete(schedules).where(S.id == gone.id, S.org == gone.org)).rowcount)

    @reads
    def schedule_states(self, connection: Connection) -> Mapping[str, int]:
        """How many there are, by `Schedule.state`."""
        over = S.next_at >= FOREVER
        counts = select(over, S.paused, func.count()).group_by(over, S.paused)
        found = {"active": 0, "paused": 0, "ended": 0}
        for row in connection.execute(counts):
            ended, paused, count = tuple(row)
            found["ended" if ended else "paused" if paused else "active"] += count
        return found


def _chosen(query: ScheduleQuery) -> Any:
    found = select(schedules)
    if query.org:
        found = found.where(S.org == query.org)
    if query.orgs:
        found = found.where(S.org.in_(query.orgs))
    return found if query.edge is None else found.where(S.edge == query.edge)


def _values(new: Schedule) -> dict[str, Any]:
    """The columns that callers change."""
    rules = asdict(new.rules) | {"catch_up": new.rules.catch_up.value, "overlap": new.rules.overlap.value}
    return {
        "name": new.name,
        "session_id": new.session_id,
        "cron": rules.pop("cron"),
        "timezone": rules.pop("timezone"),
        "rules": dumps(rules),
        "request": dumps(dict(new.request)),
        "sealed": new.sealed or None,
        "paused": int(new.paused),
        "next_at": _next(new),
        "ended": new.ended.value,
    }


def _next(one: Schedule) -> float:
    return FOREVER if one.next_at is None else one.next_at


def to_schedule(row: Row[Any]) -> Schedule:
    rules = json.loads(row.rules)
    rules |= {"catch_up": CatchUp(rules["catch_up"]), "overlap": Overlap(rules["overlap"]), "at": tuple(rules["at"])}
    return Schedule(
        **{name: getattr(row, name) for name in _PLAIN},
        rules=Rules(cron=row.cron, timezone=row.timezone, **rules),
        request=json.loads(row.request),
        sealed=row.sealed or b"",
        paused=bool(row.paused),
        next_at=None if row.next_at >= FOREVER else row.next_at,
        ended=Ended(row.ended),
    )
