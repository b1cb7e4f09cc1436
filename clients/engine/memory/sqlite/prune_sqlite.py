"""Prunes checkpoints in a SQLite file, and gives free space back to the disk."""

import json
import sqlite3
from collections.abc import Collection, Sequence

import aiosqlite
import ormsgpack

from agent_runner.clients.engine.memory.pruning import saved, unneeded

STRIPPED = "agent_runner_stripped"
"""Marks, in its metadata, a checkpoint that has only the channels from which later checkpoints are put together."""
WAL_BYTES = 16 << 20
FREE_PAGES_LEAST = 1024
PORTION_PAGES = 2048
"""Others may write between two portions of the pages that are given back."""
_FOUND = "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata FROM checkpoints WHERE thread_id = ?"
_ONE = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
ROWS_IN_PLACE = 64
"""Of a thread with more checkpoints or writes the prune is work for the connection's thread."""
_OPTION = ormsgpack.OPT_NON_STR_KEYS


async def shrinking(connection: aiosqlite.Connection) -> None:
    """Let the file give pages back, and keep its log from staying large. Call it before the first table is made.

    A file of an earlier version keeps its size and uses its free pages again, until somebody runs VACUUM.
    """
    await connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    await connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")


def weight(connection: sqlite3.Connection, thread_id: str) -> int | None:
    """Bytes of all that the thread holds; None if that is many rows. The content itself is not read."""
    total = 0
    for table, content in (("checkpoints", "checkpoint"), ("writes", "value")):
        ask = f"SELECT length({content}) FROM {table} WHERE thread_id = ? LIMIT {ROWS_IN_PLACE + 1}"  # noqa: S608
        sizes = connection.execute(ask, (thread_id,)).fetchall()
        if len(sizes) > ROWS_IN_PLACE:
            return None
        total += sum(size or 0 for (size,) in sizes)
    return total


def prune_sqlite(connection: sqlite3.Connection, thread_id: str, head: str, also: Collection[str]) -> int:
    """Within a transaction of the caller."""
    found = connection.execute(_FOUND, (thread_id,)).fetchall()
    rows = [(*row[:3], json.loads(row[3] or b"{}")) for row in found]
    done = {(row[0], row[1]) for row in rows if STRIPPED in row[3]}
    goes = unneeded((saved(*row) for row in rows), head, also)
    gone = [(thread_id, namespace, id) for namespace, ids in goes.gone.items() for id in ids]
    _delete(connection, gone)
    for namespace, ids in goes.stripped.items():
        for id, names in ids.items():
            if (namespace, id) not in done:
                _strip(connection, (thread_id, namespace, id), names)
    return len(gone)


def drop_sqlite(connection: sqlite3.Connection, thread_id: str, ids: Sequence[str]) -> None:
    """Within a transaction of the caller."""
    _delete(connection, [(thread_id, "", id) for id in ids])


def _delete(connection: sqlite3.Connection, places: Sequence[tuple[str, str, str]]) -> None:
    for table in ("writes", "checkpoints"):
        connection.executemany(f"DELETE FROM {table} WHERE {_ONE}", places)  # noqa: S608 - our two tables


def _strip(connection: sqlite3.Connection, place: tuple[str, str, str], names: frozenset[str]) -> None:
    """Keep only these channels of a checkpoint. Their content is copied as bytes; no objects are made from it."""
    row = connection.execute(f"SELECT type, checkpoint, metadata FROM checkpoints WHERE {_ONE}", place).fetchone()  # noqa: S608
    if row is None or row[0] != "msgpack":
        return
    content = ormsgpack.unpackb(row[1], ext_hook=ormsgpack.Ext, option=_OPTION)
    content["channel_values"] = {n: v for n, v in (content.get("channel_values") or {}).items() if n in names}
    metadata = json.dumps({**json.loads(row[2] or b"{}"), STRIPPED: True}, ensure_ascii=False).encode()
    update = f"UPDATE checkpoints SET checkpoint = ?, metadata = ? WHERE {_ONE}"  # noqa: S608
    connection.execute(update, (ormsgpack.packb(content, option=_OPTION), metadata, *place))
    among = ",".join("?" * len(names))
    delete = f"DELETE FROM writes WHERE {_ONE} AND channel NOT IN ({among})"  # noqa: S608
    connection.execute(delete, (*place, *sorted(names)))


def has_room(connection: sqlite3.Connection) -> bool:
    """Whether the file has at least FREE_PAGES_LEAST free pages, and more than a quarter of all."""
    free, pages = [_number(connection, f"PRAGMA {what}") for what in ("freelist_count", "page_count")]
    return free >= FREE_PAGES_LEAST and free * 4 > pages


def give_back(connection: sqlite3.Connection) -> bool:
    """Give some of the free pages back to the disk, if there is room. Returns whether there is more."""
    if not has_room(connection):
        return False
    free = _number(connection, "PRAGMA freelist_count")
    # `execute` would free one page: the statement ends after many steps, and has no rows to ask for.
    connection.executescript(f"PRAGMA incremental_vacuum({PORTION_PAGES})")
    more = has_room(connection) and _number(connection, "PRAGMA freelist_count") < free
    if not more:  # the file becomes smaller when the log is copied into it
        connection.execute("PRAGMA wal_checkpoint").fetchall()
    return more


def _number(connection: sqlite3.Connection, question: str) -> int:
    row = connection.execute(question).fetchone()
    return int(row[0]) if row else 0
