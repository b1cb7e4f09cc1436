"""How much of the database the memory of one thread takes, as the Agent Server API tells it.

In Postgres the values of channels are rows of their own, which checkpoints share; texts and numbers stand in their
checkpoint, and count there.
In SQLite each checkpoint holds all values that it needs: there the bytes of a channel are those of all its copies.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import ormsgpack
from langgraph.checkpoint.base import BaseCheckpointSaver

from agent_runner.clients.engine.memory.sqlite.sqlite_saver import OneVisitSaver

if TYPE_CHECKING:
    from agent_runner.clients.engine.memory.postgres_memory import PostgresMemory
    from agent_runner.clients.engine.memory.postgres_pool import Pool

Json = dict[str, Any]
Channels = Mapping[str, tuple[int, int]]
"""By name: different versions, bytes."""
_PLACES = "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ?"
_ONE = """
SELECT type, checkpoint, length(checkpoint) + coalesce(length(metadata), 0) FROM checkpoints
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
"""
_WRITES = "SELECT count(*), coalesce(sum(length(value)), 0) FROM writes WHERE thread_id = ?"
_PG_CHECKPOINTS = """
SELECT count(*) AS count, coalesce(sum(pg_column_size(checkpoint) + pg_column_size(metadata)), 0)::bigint AS bytes
FROM checkpoints WHERE thread_id = %(thread)s
"""
_PG_CHANNELS = """
SELECT v.key AS channel, count(DISTINCT (c.checkpoint_ns, v.value)) AS count,
    coalesce((SELECT sum(pg_column_size(b.blob)) FROM checkpoint_blobs b
        WHERE b.thread_id = %(thread)s AND b.channel = v.key), 0)::bigint AS bytes
FROM checkpoints c CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v
WHERE c.thread_id = %(thread)s GROUP BY v.key ORDER BY v.key
"""
_PG_WRITES = """
SELECT count(*) AS count, coalesce(sum(pg_column_size(blob)), 0)::bigint AS bytes
FROM checkpoint_writes WHERE thread_id = %(thread)s
"""
_OPTION = ormsgpack.OPT_NON_STR_KEYS


async def thread_size(saver: BaseCheckpointSaver[Any], thread_id: str) -> Json:
    """`{total_bytes, checkpoints, channel_values, pending_writes}`, the last three with `count` and `bytes` as the
    database stores them; `channel_values.by_channel` has `versions` and `bytes` of each channel."""
    if isinstance(saver, OneVisitSaver):
        return await _in_sqlite(saver, thread_id)
    return await _in_postgres(cast("PostgresMemory", saver).pool, thread_id)


async def _in_postgres(pool: "Pool", thread_id: str) -> Json:
    async with pool.connection() as connection:
        found = [
            await (await connection.execute(query, {"thread": thread_id})).fetchall()
            for query in (_PG_CHECKPOINTS, _PG_CHANNELS, _PG_WRITES)
        ]
    (checkpoints,), channels, (writes,) = found
    return _told(
        (checkpoints["count"], checkpoints["bytes"]),
        {row["channel"]: (row["count"], row["bytes"]) for row in channels},
        (writes["count"], writes["bytes"]),
    )


async def _in_sqlite(saver: OneVisitSaver, thread_id: str) -> Json:
    """One checkpoint in each visit to the connection, so that runs are not kept waiting by a long thread."""
    places = await saver.read(lambda connection: connection.execute(_PLACES, (thread_id,)).fetchall())
    whole, values = 0, 0
    versions: dict[str, set[Any]] = defaultdict(set)
    sizes: dict[str, int] = defaultdict(int)
    for namespace, id in places:
        place = (thread_id, namespace, id)
        length, channels = await saver.read(lambda connection, place=place: _measured(connection, place))  # type: ignore[misc]
        whole += length
        for name, (version, size) in channels.items():
            versions[name].add((namespace, version))
            sizes[name] += size
            values += size
    writes = await saver.read(lambda connection: connection.execute(_WRITES, (thread_id,)).fetchone())
    channels_told = {name: (len(versions[name]), sizes[name]) for name in sorted(versions)}
    return _told((len(places), whole - values), channels_told, writes)


def _measured(connection: sqlite3.Connection, place: tuple[str, str, str]) -> tuple[int, dict[str, tuple[Any, int]]]:
    """The bytes of a checkpoint, and by channel the version and the bytes of its value in it."""
    row = connection.execute(_ONE, place).fetchone()
    if row is None:
        return 0, {}
    kind, content, length = row
    if kind != "msgpack":
        return length, {}
    read = ormsgpack.unpackb(content, ext_hook=ormsgpack.Ext, option=_OPTION)
    seen = read.get("channel_versions") or {}
    values = read.get("channel_values") or {}
    sizes = {name: len(ormsgpack.packb(values[name], option=_OPTION)) if name in values else 0 for name in seen}
    return length, {name: (seen[name], size) for name, size in sizes.items()}


def _told(checkpoints: tuple[int, int], channels: Channels, writes: tuple[int, int]) -> Json:
    in_values = sum(size for _, size in channels.values())
    values = {
        "count": sum(count for count, _ in channels.values()),
        "bytes": in_values,
        "by_channel": {name: {"versions": count, "bytes": size} for name, (count, size) in channels.items()},
    }
    return {
        "total_bytes": checkpoints[1] + in_values + writes[1],
        "checkpoints": {"count": checkpoints[0], "bytes": checkpoints[1]},
        "channel_values": values,
        "pending_writes": {"count": writes[0], "bytes": writes[1]},
    }
