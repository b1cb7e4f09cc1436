"""Which executions a list shows: every filter as a condition of SQL, and the keys in the order of the list.

A page costs what it shows and not what the table holds: each filter has an index that is read in the order of the list,
several phases are read one by one and merged, and a bound in time becomes a bound of the primary key. Only a text is
looked for row by row, in a stretch of `SEARCHED` rows for each page.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, FromClause, Select, func, literal_column, or_, select, union_all

from agent_runner.status.phases import Phase
from agent_runner.status.store.driver.ready import number, ready
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.tags import executions_with, having_labels
from agent_runner.status.store.lists.queries import ExecutionQuery
from agent_runner.status.store.paging import key_of, token_of
from agent_runner.status.store.schema import execution_log, executions

E = executions.c
_EMPTY: ColumnElement[str] = literal_column("''")
LIST = "executions"
"""The name of the list in the page tokens of executions."""
SEARCHED = 2000
"""A page of a search for a text looks at so many executions. If it ends before the list does, its token goes on."""
SEARCHED_CHARS = 4096
"""The part of a message that is searched."""
CLOCKS_APART_S = 60.0
"""Executions get their time before their place in the order; never by more than this."""
_ID = re.compile(r"(aex|ses)-[0-9a-z]{26}")
_BEFORE_CONTENT = len('{"id":"user","type":"MESSAGE_HUMAN","content":"')
_CONTENT = re.compile(r'"content":"((?:[^"\\]|\\.)*)')


@dataclass(frozen=True, slots=True)
class Selection:
    """`rows()` gives the keys, newest first. `text` is left for `search`."""

    source: FromClause
    key: ColumnElement[Any]
    conditions: Sequence[ColumnElement[bool]]
    phases: Sequence[Phase]
    text: str = ""

    @property
    def narrow(self) -> bool:
        """Something besides the phases was asked for."""
        return bool(self.conditions)

    def rows(self, most: int, *, before: int | None = None, skip: int = 0) -> Select[tuple[int]]:
        """The handles of the newest `most` rows below `before`, after `skip` others."""
        given = [*self.conditions, *([self.key < before] if before is not None else [])]
        if len(self.phases) < 2:
            return self._newest([*given, *(E.phase == p for p in self.phases)], most).offset(skip)
        each = (self._newest([*given, E.phase == phase], skip + most).subquery() for phase in self.phases)
        merged = union_all(*(select(one.c.handle) for one in each)).subquery()
        return select(merged.c.handle).order_by(merged.c.handle.desc()).limit(most).offset(skip)

    def newest_phases(self, most: int) -> Select[tuple[int]]:
        """The phases of the newest `most`, whatever phases are asked for. Read where the order is read: Postgres would
        join what is chosen by handles with the whole table."""
        phases = select(E.phase).select_from(self.source).where(*self.conditions)
        return phases.order_by(self.key.desc()).limit(most)

    def _newest(self, given: Sequence[ColumnElement[bool]], most: int) -> Select[tuple[int]]:
        handles = select(self.key.label("handle")).select_from(self.source).where(*given)
        return handles.order_by(self.key.desc()).limit(most)


def selection(connection: Connection, query: ExecutionQuery, *, phases: bool = True) -> Selection:
    """`phases` False: in whatever phase."""
    more = query.more
    chosen = having_labels(executions_with(query.tags), more.labels)
    equal = ((E.org, query.org), (E.session_id, query.session_id), (E.agent_id, query.agent),
             (E.error_code, more.code), (E.graph, more.graph))  # fmt: skip
    given = [*chosen.conditions, *(column == value for column, value in equal if value)]
    if more.code:
        given.append(E.error_code != _EMPTY)  # written out, for the partial index
    if more.graph:
        given.append(E.graph != _EMPTY)
    if query.orgs:
        given.append(E.org.in_(query.orgs))
    if query.waiting is not None:
        given.append(E.waiting == int(query.waiting))
    if more.created_after is not None:
        first = first_handle(connection, more.created_after - CLOCKS_APART_S)
        given += [E.created_at >= more.created_after, chosen.key >= first]
    if more.created_before is not None:
        end = first_handle(connection, more.created_before + CLOCKS_APART_S)
        given += [E.created_at < more.created_before, chosen.key < end]
    text = more.text.strip()
    if known := _ID.fullmatch(text):
        given.append((E.id if known[1] == "aex" else E.session_id) == text)
        text = ""
    wanted = list(dict.fromkeys([*([query.phase] if query.phase else []), *more.phases])) if phases else []
    return Selection(chosen.source, chosen.key, given, wanted, text)


def first_handle(connection: Connection, at: float) -> int:
    """The first handle of an execution that was created at `at` or later; by halves, so without an index of times."""
    low, high = (number or 0 for number in connection.execute(_ENDS).one())
    high += 1
    while low < high:
        middle = (low + high) // 2
        found = connection.one(_from(), its_handle=middle)
        if found is None or found.created_at >= at:
            high = middle
        else:
            low = found.handle + 1
    return int(low)


_ENDS = select(
    select(func.min(E.handle)).scalar_subquery().label("low"),
    select(func.max(E.handle)).scalar_subquery().label("high"),
)


@ready
def _from() -> ClauseElement:
    return select(E.handle, E.created_at).where(E.handle >= number("its_handle")).order_by(E.handle).limit(1)


@dataclass(frozen=True, slots=True)
class Found:
    """Handles, newest first. `next` is the handle that the next page comes after; None: there is none."""

    handles: Sequence[int]
    next: int | None


def page_of(connection: Connection, chosen: Selection, size: int, *, before: int | None, skip: int = 0) -> Found:
    """One page of the selection. `skip`: so many rows are left out first."""
    if chosen.text:
        return _search(connection, chosen, size, before=before, skip=skip)
    handles = list(connection.scalars(chosen.rows(size + 1, before=before, skip=skip)))
    return Found(handles[:size], handles[size - 1] if len(handles) > size else None)


def counted(connection: Connection, chosen: Selection, most: int) -> int:
    """How many there are, up to `most`; of a text, in the newest `SEARCHED` only."""
    if chosen.text:
        return len(_search(connection, chosen, SEARCHED, before=None, skip=0).handles)
    return int(connection.scalar(select(func.count()).select_from(chosen.rows(most).subquery())) or 0)


def _search(connection: Connection, chosen: Selection, size: int, *, before: int | None, skip: int) -> Found:
    stretch = list(connection.scalars(chosen.rows(SEARCHED, before=before)))
    if not stretch:
        return Found([], None)
    window, log = chosen.rows(SEARCHED, before=before).subquery(), execution_log.c
    said = func.substr(log.payload, _BEFORE_CONTENT + 1, SEARCHED_CHARS)
    written = json.dumps(chosen.text, ensure_ascii=False)[1:-1]
    named = or_(E.id.icontains(chosen.text, autoescape=True), E.session_id.icontains(chosen.text, autoescape=True))
    read = func.substr(log.payload, 1, _BEFORE_CONTENT + SEARCHED_CHARS).label("said")
    hits = (
        select(E.handle, read, named.label("by_name"))
        .select_from(window.join(executions, E.handle == window.c.handle))
        .join(execution_log, (log.handle == E.handle) & (log.seq == 1))
        .where(or_(named, said.icontains(written, autoescape=True)))
        .order_by(E.handle.desc())
    )
    wanted = chosen.text.casefold()
    found = connection.execute(hits).all()
    handles = [row.handle for row in found if row.by_name or wanted in _said(row.said).casefold()]
    handles = handles[skip:]
    if len(handles) > size:
        return Found(handles[:size], handles[size - 1])
    return Found(handles, stretch[-1] if len(stretch) == SEARCHED else None)


def _said(payload: str) -> str:
    """The message, in a row or in the beginning of one."""
    found = _CONTENT.search(payload)
    if not found:
        return ""
    try:
        return str(json.loads(f'"{found[1]}"', strict=False))
    except ValueError:  # the row was cut within an escape
        return found[1]


def token_after(handle: int | None) -> str:
    """The token of the page after this handle; empty for none."""
    return "" if handle is None else token_of(LIST, str(handle))


def handle_in(token: str) -> int:
    """The handle in a page token. Raises `ValueError`."""
    key = key_of(LIST, token)
    if not (key.isascii() and key.isdecimal() and int(key) < 1 << 63):
        raise ValueError(f"page_token {token[:80]!r} was not made for this list; start again without one")
    return int(key)
