"""LangGraph's Postgres saver, whose writes are one statement each.

LangGraph's own writes turn state into bytes on another thread, and send several statements in pipeline mode. For a run
of three checkpoints that was half of what its memory cost the worker. State is turned into bytes on the event loop:
nodes may change their state's objects, and the loop is where they run. The tables and what is in them are LangGraph's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from psycopg.types.json import Jsonb

from agent_runner.clients.engine.memory.task_writes import may_be_told_again, rows_of

_PUT = """
WITH contents AS (
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT %(thread)s, %(namespace)s, one.*
    FROM unnest(%(channels)s::text[], %(versions)s::text[], %(types)s::text[], %(blobs)b::bytea[]) AS one
    ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING
)
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
VALUES (%(thread)s, %(namespace)s, %(id)s, %(parent)s, %(checkpoint)s, %(metadata)s)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id)
DO UPDATE SET checkpoint = EXCLUDED.checkpoint, metadata = EXCLUDED.metadata
"""
_WRITES = """
INSERT INTO checkpoint_writes
    (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
SELECT %(thread)s, %(namespace)s, %(id)s, %(task)s, %(path)s, one.*
FROM unnest(%(numbers)s::int[], %(channels)s::text[], %(types)s::text[], %(blobs)b::bytea[]) AS one
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
"""
_ONCE = f"{_WRITES} DO NOTHING"
_AGAIN = f"{_WRITES} DO UPDATE SET channel = EXCLUDED.channel, type = EXCLUDED.type, blob = EXCLUDED.blob"


class OneTripSaver(AsyncPostgresSaver):
    """What is not here (reads, lists, histories) is LangGraph's own. `setup` must have been awaited."""

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, versions: ChannelVersions
    ) -> RunnableConfig:
        place = config["configurable"]
        thread_id, namespace, id = place["thread_id"], place["checkpoint_ns"], checkpoint["id"]
        values, known = checkpoint["channel_values"], checkpoint["channel_versions"]
        # LangGraph's own rule keeps all scalars in the checkpoint's JSON: so may the checkpoint before this one.
        odd = {name for name, value in values.items() if _is_scalar(value) and not _is_plain(value) and name in known}
        beside = {name: value for name, value in values.items() if name in odd or not _is_scalar(value)}
        inline = {name: value for name, value in values.items() if name not in beside}
        inline |= {name: True for name, value in beside.items() if isinstance(value, _DeltaSnapshot)}
        new = {name: version for name, version in versions.items() if name in beside}
        new |= {name: known[name] for name in odd}
        contents = [(name, version, *self.serde.dumps_typed(beside[name])) for name, version in new.items()]
        await self._run(
            _PUT,
            thread=thread_id,
            namespace=namespace,
            id=id,
            parent=place.get("checkpoint_id"),
            checkpoint=Jsonb({**checkpoint, "channel_values": inline}),
            metadata=Jsonb(get_serializable_checkpoint_metadata(config, metadata)),
            **_columns(contents, "channels", "versions", "types", "blobs"),
        )
        return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": id}}

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        place = config["configurable"]
        rows, again = rows_of(writes, self.serde), may_be_told_again(writes)
        await self._run(
            _AGAIN if again else _ONCE,
            thread=place["thread_id"],
            namespace=place["checkpoint_ns"],
            id=place["checkpoint_id"],
            task=task_id,
            path=task_path,
            # One statement may not write a row twice.
            **_columns(
                list({row[0]: row for row in rows}.values()) if again else rows, "numbers", "channels", "types", "blobs"
            ),
        )

    async def _run(self, sql: str, **values: Any) -> None:
        async with self._cursor() as cursor:
            await cursor.execute(sql, values)


def _columns(rows: Sequence[Sequence[Any]], *names: str) -> Mapping[str, list[Any]]:
    return {name: [row[n] for row in rows] for n, name in enumerate(names)}


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_plain(value: object) -> bool:
    """Whether a scalar comes back from JSON in Postgres as it was. A float does not (1e20 becomes a whole number, nan
    is refused), nor a text with a zero character or half of a pair, nor one of a class of its own."""
    if type(value) is not str:
        return value is None or type(value) in (bool, int)
    if value.isascii():
        return "\0" not in value
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False
