"""The pool of connections behind an agent's memory in Postgres, and patience with a database that is away.

psycopg's pool waits twice as long after each failed attempt: after an outage of a minute nothing was got from it for
another one. This one is back within about a second, and throws away at once what the outage has left broken.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.postgres import advice, is_pooled, plain, prepares

log = event_logger(__name__)

POOL_MAX_SIZE = 10
OPEN_TIMEOUT_S = 10.0
RECONNECT_MOST_S = 0.5
"""Doubled by the pool before it is used: a new attempt every second."""
ATTEMPT_S = 5
CONNECTION_WAIT_S = 10.0
PATIENCE_S, PAUSE_S = 300.0, 0.5
"""How long a run waits for its memory; its own time limit may end it before."""

T = TypeVar("T")
Pool = AsyncConnectionPool[AsyncConnection[DictRow]]


class MemoryAway(Exception):
    """The database with the agents' memory could not be used for so long that the run is given up."""


class SteadyPool(Pool):
    async def _add_connection(self, attempt: Any, growing: bool = False) -> None:
        if attempt is not None:
            attempt.delay = min(attempt.delay, RECONNECT_MOST_S)
        await super()._add_connection(attempt, growing)


async def open_pool(url: str) -> Pool:
    """Connected once. Raises what keeps it from that; psycopg's words, or ValueError for a URL that cannot be read."""

    async def check(connection: AsyncConnection[DictRow]) -> None:
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.Error:
            await pool.drain()  # one broken connection: the others broke with it
            raise

    async def suit(connection: AsyncConnection[DictRow]) -> None:
        answer = await (await connection.execute("SELECT pg_backend_pid() AS pid", prepare=False)).fetchone()
        if prepares(url) and answer is not None and not is_pooled(connection, answer["pid"]):
            connection.prepare_threshold = 0

    # For the reason why not: the pool tells only that it got none.
    kwargs = {"autocommit": True, "prepare_threshold": None, "row_factory": dict_row, "connect_timeout": ATTEMPT_S}
    first = await psycopg.AsyncConnection.connect(plain(url), autocommit=True, connect_timeout=ATTEMPT_S)
    await first.close()
    pool = SteadyPool(
        plain(url),
        min_size=1,
        max_size=POOL_MAX_SIZE,
        open=False,
        timeout=CONNECTION_WAIT_S,
        reconnect_timeout=math.inf,
        check=check,
        configure=suit,
        kwargs=kwargs,
    )
    try:
        await pool.open(wait=True, timeout=OPEN_TIMEOUT_S)
    except BaseException:
        await pool.close()
        raise
    return pool


def is_away(error: BaseException) -> bool:
    """Whether the database was not there for this call; all else would be the same again."""
    if isinstance(error, PoolTimeout | psycopg.errors.AdminShutdown | psycopg.errors.CannotConnectNow):
        return True
    # An error with a code is an answer, and its classes 08 and 57P say that the connection goes.
    code = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.OperationalError) and (code is None or code[:2] == "08" or code[:3] == "57P")


class Patient:
    """Mixed in before the saver: reads and writes wait for a database that is away. Each may be repeated: a checkpoint
    is written by its id."""

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, versions: ChannelVersions
    ) -> RunnableConfig:
        saver: Any = super()
        written: RunnableConfig = await patiently(lambda: saver.aput(config, checkpoint, metadata, versions))
        return written

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        saver: Any = super()
        await patiently(lambda: saver.aput_writes(config, writes, task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        saver: Any = super()
        found: CheckpointTuple | None = await patiently(lambda: saver.aget_tuple(config))
        return found


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """What the call gives once the database is there. Raises `MemoryAway` after PATIENCE_S, and all else at once."""
    since = time.monotonic()
    told = False
    while True:
        try:
            answer = await call()
        except psycopg.Error as error:
            if hint := advice(str(error)):
                raise MemoryAway(f"the agents' memory: {error}. {hint}") from error
            if not is_away(error):
                raise
            if time.monotonic() - since > PATIENCE_S:
                raise MemoryAway(
                    f"the database with the agents' memory was away for {PATIENCE_S:g} s: {type(error).__name__}"
                ) from error
            if not told:
                log.warning("memory.away", error=type(error).__name__)
            told = True
        else:
            if told:
                log.info("memory.back", away_s=round(time.monotonic() - since, 1))
            return answer
        await asyncio.sleep(PAUSE_S)
