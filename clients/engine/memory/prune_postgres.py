"""Pruning in Postgres, where the contents of channels are rows of their own (blobs), which checkpoints share."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from psycopg import AsyncCursor, Capabilities
from psycopg.rows import DictRow

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
_REMOVE = """
WITH gone AS (
    DELETE FROM checkpoints
    WHERE thread_id = %(thread)s AND checkpoint_ns = %(namespace)s AND checkpoint_id = ANY(%(gone)s)
    RETURNING checkpoint -> 'channel_versions' AS versions
), writes AS (
    DELETE FROM checkpoint_writes WHERE thread_id = %(thread)s AND checkpoint_ns = %(namespace)s
    AND (checkpoint_id = ANY(%(gone)s) OR checkpoint_id = ANY(%(thin)s) AND NOT channel = ANY(%(names)s))
), stays AS (
    SELECT v.key AS channel, v.value AS version, checkpoint_id = ANY(%(thin)s) AND NOT v.key = ANY(%(names)s) AS freed
    FROM checkpoints CROSS JOIN LATERAL jsonb_each_text(checkpoint -> 'channel_versions') AS v
    WHERE thread_id = %(thread)s AND checkpoint_ns = %(namespace)s AND NOT checkpoint_id = ANY(%(gone)s)
), freed AS (
    SELECT v.key AS channel, v.value AS version FROM gone CROSS JOIN LATERAL jsonb_each_text(versions) AS v
    UNION SELECT channel, version FROM stays WHERE freed
    EXCEPT SELECT channel, version FROM stays WHERE NOT freed
)
DELETE FROM checkpoint_blobs AS blob USING freed
WHERE blob.thread_id = %(thread)s AND blob.checkpoint_ns = %(namespace)s
AND blob.channel = freed.channel AND blob.version = freed.version
"""
"""Removes the checkpoints `gone` with their writes, all writes to `thin` but those of the channels `names`, and then
the contents that no checkpoint refers to any more: checkpoints share them."""


async def prune_postgres(pool: Pool, thread_id: str, head: str, also: Collection[str]) -> int:
    async with _alone(pool, thread_id) as cursor:
        await cursor.execute(_SAVED, (thread_id,))
        rows = [tuple(row.values()) for row in await cursor.fetchall()]
        goes = unneeded((saved(*row) for row in rows), head, also)
        for namespace in {*goes.gone, *goes.stripped}:
            stripped = goes.stripped.get(namespace, {})
            await _remove(cursor, thread_id, namespace, goes.gone.get(namespace, []), stripped)
    return sum(len(ids) for ids in goes.gone.values())


async def drop_postgres(pool: Pool, thread_id: str, ids: Sequence[str]) -> None:
    async with _alone(pool, thread_id) as cursor:
        await _remove(cursor, thread_id, "", ids, {})


@asynccontextmanager
async def _alone(pool: Pool, thread_id: str) -> AsyncIterator[AsyncCursor[DictRow]]:
    """A transaction in which nobody else prunes the thread. Its statements travel together where nothing is read
    between."""
    async with pool.connection() as connection:
        together = connection.pipeline() if Capabilities().has_pipeline() else nullcontext()
        async with together, connection.transaction(), connection.cursor() as cursor:
            await cursor.execute(_LOCK, (thread_id,))
            yield cursor


async def _remove(
    cursor: AsyncCursor[Any], thread_id: str, namespace: str, gone: Sequence[str], stripped: dict[str, frozenset[str]]
) -> None:
    names = sorted({name for wanted in stripped.values() for name in wanted})
    its = {"thread": thread_id, "namespace": namespace, "gone": list(gone), "thin": list(stripped), "names": names}
    await cursor.execute(_REMOVE, its)
