"""Deletes text from the stored rows and the snapshot after the graph rewrote or removed it.

This happens in the transaction that appends the edit, so nobody can read the edit and the old text together.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, or_, select, update

from agent_runner.status.log.events import INPUT_MESSAGE, USER_MESSAGE
from agent_runner.status.log.purges import CALL_ROWS, EDITS, MESSAGE_ROWS, purge_state, purged, taken_back
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.executions.attachments import drop_attachments
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.run_records import NewDelta
from agent_runner.status.store.schema import execution_log, execution_snapshots, executions, resources

SUBJECT_LENGTH = 80
"""The limit for the subject of a session that was created for an execution."""
MOST_IDS = 100
"""With more ids than this the execution's whole log is read, instead of a search for the ids."""

Edit = tuple[str, dict[str, Any]]


def purge_edited(connection: Connection, handle: int, deltas: Sequence[NewDelta]) -> Sequence[NewDelta]:
    """Returns `deltas` as they are to be stored, and changes the rows that are stored already."""
    edits = [(delta.kind, told) for delta in deltas if delta.kind in EDITS and (told := _object(delta.payload))]
    if not edits:
        return deltas
    connection.may_last()
    for kind, edit in edits:
        if edit.get("id") == USER_MESSAGE and kind in ("message_edit", "message_removed"):
            _purge_subject(connection, handle, str(edit.get("content", "")))
    _purge_rows(connection, handle, edits)
    _purge_snapshot(connection, handle, edits)
    kept: list[NewDelta] = []
    later: list[Edit] = []
    for delta in reversed(deltas):
        kept.append(NewDelta(kind=delta.kind, payload=_without(delta.kind, delta.payload, later)))
        if delta.kind in EDITS and (told := _object(delta.payload)):
            later.append((delta.kind, told))
    return kept[::-1]


def _purge_subject(connection: Connection, handle: int, now: str) -> None:
    """A session's subject is the beginning of the user's first message, unless somebody has changed it."""
    log, kind = execution_log.c, ResourceKind.SESSION.value
    said = connection.scalar(select(log.payload).where(log.handle == handle, log.seq == 1))
    session = select(executions.c.session_id).where(executions.c.handle == handle).scalar_subquery()
    mine = (resources.c.kind == kind, resources.c.id == session)
    body = connection.scalar(select(resources.c.body).where(*mine))
    if said is None or body is None:
        return
    document, was = json.loads(body), subject_of(str(json.loads(said).get("content", "")))
    spec = document.get("spec") or {}
    if not was or spec.get("subject") != was:
        return
    spec["subject"] = subject_of(now)
    changed = {"body": json.dumps(document, ensure_ascii=False, separators=(",", ":"))}
    connection.execute(update(resources).where(*mine).values(version=resources.c.version + 1, **changed))


def subject_of(message: str) -> str:
    return " ".join(message.split())[:SUBJECT_LENGTH]


def _purge_rows(connection: Connection, handle: int, edits: Sequence[Edit]) -> None:
    log = execution_log.c
    query = select(log.seq, log.kind, log.payload).where(log.handle == handle, log.kind.in_(MESSAGE_ROWS | CALL_ROWS))
    ids = {str(edit.get("id", "")) for _, edit in edits}
    if any(id_.startswith(INPUT_MESSAGE) for id_ in ids):
        ids.add(USER_MESSAGE)
    if len(ids) <= MOST_IDS and all(id_.isascii() and json.dumps(id_) == f'"{id_}"' for id_ in ids):
        query = query.where(or_(*(log.payload.contains(f'"{id_}"', autoescape=True) for id_ in ids)))
    rows = list(connection.execute(query))
    changed = [
        {"at_handle": handle, "at_seq": row.seq, "blank": blank}
        for row in rows
        if (blank := _without(row.kind, row.payload, edits)) != row.payload
    ]
    attached = [(row.kind, told) for row in rows if '"attachments"' in row.payload and (told := _object(row.payload))]
    gone = [id_ for edit in edits for kind, told in attached for id_ in taken_back(kind, told, *edit)]
    drop_attachments(connection, handle, gone)
    if changed:
        statement = (
            update(execution_log)
            .where(log.handle == bindparam("at_handle"), log.seq == bindparam("at_seq"))
            .values(payload=bindparam("blank"))
        )
        connection.execute(statement, changed)


def _purge_snapshot(connection: Connection, handle: int, edits: Sequence[Edit]) -> None:
    snapshots = execution_snapshots.c
    kept = connection.scalar(select(snapshots.state).where(snapshots.handle == handle))
    if kept is None:
        return
    state = json.loads(kept)
    for kind, edit in edits:
        purge_state(state, kind, edit)
    blank = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
    connection.execute(update(execution_snapshots).where(snapshots.handle == handle).values(state=blank))


def _without(kind: str, payload: str, edits: Sequence[Edit]) -> str:
    """The payload of a row without the text that `edits`, which come later, remove."""
    if not edits or kind not in MESSAGE_ROWS | CALL_ROWS or (told := _object(payload)) is None:
        return payload
    blank: dict[str, Any] | None = None
    for edit_kind, edit in edits:
        blank = purged(kind, blank or told, edit_kind, edit) or blank
    return payload if blank is None else json.dumps(blank, ensure_ascii=False, separators=(",", ":"))


def _object(payload: str) -> dict[str, Any] | None:
    told = json.loads(payload)
    return told if isinstance(told, dict) else None
