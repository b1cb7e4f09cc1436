"""Pruning in Postgres, where the contents of channels are rows of their own (blobs), which checkpoints share."""

from collections.abc import Collection, Sequence
from typing import Any

from psycopg import AsyncCursor

from agent_runner.clients.engine.memory.postgres_pool import Pool
from agent_runner.clients.engine.memory.pruning import saved, unneeded

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
"""Only one prune of a thread at a time: two would wait for each other's rows."""
_SAVED = """
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id,
    jsonb_build_object('parents', metadata -> 'parents',
        'counters_since_delta_snapshot', metadata -> 'counters_since_delta_snapshot') AS metadata
FROM checkpoints WHERE thread_id = %s
"""
_WRITES = """
DELETE FROM checkpoint_writes WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = ANY(%s)
"""
_CHECKPOINTS = """
WITH deleted AS (
    DELETE FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = ANY(%s)
    RETURNING checkpoint -> 'channel_versions' AS versions
)
SELECT DISTINCT v.key AS channel, v.value AS version FROM deleted CROSS JOIN LATERAL jsonb_each_text(versions) AS v
"""
"""Deletes checkpoints and returns the blobs that they referred to. Other checkpoints may share these blobs."""
_OF_STRIPPED = """
SELECT DISTINCT v.key AS channel, v.value AS version
FROM checkpoints c CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v
WHERE c.thread_id = %s AND c.checkpoint_ns = %s AND c.checkpoint_id = ANY(%s) AND NOT v.key = ANY(%s)
"""
_STRIPPED_WRITES = """
DELETE FROM checkpoint_writes
WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = ANY(%s) AND NOT channel = ANY(%s)
"""
_REFERENCED = """
SELECT DISTINCT v.key AS channel, v.value AS version
FROM checkpoints c CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v
WHERE c.thread_id = %s AND c.checkpoint_ns = %s AND (NOT c.checkpoint_id = ANY(%s) OR v.key = ANY(%s))
"""
_BLOBS = """
DELETE FROM checkpoint_blobs WHERE thread_id = %s AND checkpoint_ns = %s AND channel = %s AND version = %s
"""


async def prune_postgres(pool: Pool, thread_id: str, head: str, also: Collection[str]) -> int:
    async with pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(_LOCK, (thread_id,))
        await cursor.execute(_SAVED, (thread_id,))
        rows = [tuple(row.values()) async for row in cursor]
        goes = unneeded((saved(*row) for row in rows), head, also)
        for namespace in {*goes.gone, *goes.stripped}:
            stripped = goes.stripped.get(namespace, {})
            await _remove(cursor, thread_id, namespace, goes.gone.get(namespace, []), stripped)
    return sum(len(ids) for ids in goes.gone.values())


async def drop_postgres(pool: Pool, thread_id: str, ids: Sequence[str]) -> None:
    async with pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(_LOCK, (thread_id,))
        await _remove(cursor, thread_id, "", list(ids), {})


async def _remove(
    cursor: AsyncCursor[Any], thread_id: str, namespace: str, gone: list[str], stripped: dict[str, frozenset[str]]
) -> None:
    """Remove the checkpoints `gone` with their writes, all but the named channels of `stripped`, and then all blobs
    that no checkpoint refers to any more."""
    mine, thin = (thread_id, namespace, gone), list(stripped)
    names = sorted({name for wanted in stripped.values() for name in wanted})
    await cursor.execute(_WRITES, mine)
    await cursor.execute(_CHECKPOINTS, mine)
    freed = {(row["channel"], row["version"]) async for row in cursor}
    if thin:
        await cursor.execute(_STRIPPED_WRITES, (thread_id, namespace, thin, names))
        await cursor.execute(_OF_STRIPPED, (thread_id, namespace, thin, names))
        freed |= {(row["channel"], row["version"]) async for row in cursor}
    await cursor.execute(_REFERENCED, (thread_id, namespace, thin, names))
    freed -= {(row["channel"], row["version"]) async for row in cursor}
    await cursor.executemany(_BLOBS, [(thread_id, namespace, *one) for one in sorted(freed)])
