"""The pool of connections for the agents' memory in Postgres, and calls that wait for a database that is away.

psycopg's pool doubles its wait after each failed attempt: after an outage of a minute it gave no connection for another
minute. This pool connects again within about a second, and at once discards connections that the outage broke.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from agent_runner.clients.engine.memory.database_errors import MemoryAway
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.postgres import advice, is_pooled, plain, prepares

log = event_logger(__name__)

POOL_MAX_SIZE = 10
OPEN_TIMEOUT_S = 10.0
RECONNECT_MOST_S = 0.5
"""The pool doubles this delay before it uses it: so there is a new attempt every second."""
ATTEMPT_S = 5
CONNECTION_WAIT_S = 10.0
TAKE_LOCK = "SELECT pg_try_advisory_xact_lock(7021794871652217445) AS mine"
SET_UP_PAUSE_S = 0.05
TRUSTED_S = 0.25
"""For so long a connection that has answered is given out again without being asked. Shorter than the pause after which
a call that met a broken one is tried again."""
PATIENCE_S, PAUSE_S = 300.0, 0.5
"""How long a run waits for its memory, and the pause between attempts. Its own time limit may end the run before."""

T = TypeVar("T")
Pool = AsyncConnectionPool[AsyncConnection[DictRow]]


class SteadyPool(Pool):
    async def _add_connection(self, attempt: Any, growing: bool = False) -> None:
        if attempt is not None:
            attempt.delay = min(attempt.delay, RECONNECT_MOST_S)
        await super()._add_connection(attempt, growing)


async def open_pool(url: str) -> Pool:
    """A pool that has connected once. Raises psycopg's error if it cannot, ValueError for a URL that it cannot read."""

    answered: WeakKeyDictionary[AsyncConnection[DictRow], float] = WeakKeyDictionary()

    async def check(connection: AsyncConnection[DictRow]) -> None:
        if time.monotonic() - answered.get(connection, -math.inf) < TRUSTED_S:
            return
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.Error:
            await pool.drain()  # if one connection is broken, the others are broken too
            raise
        answered[connection] = time.monotonic()

    async def suit(connection: AsyncConnection[DictRow]) -> None:
        answer = await (await connection.execute("SELECT pg_backend_pid() AS pid", prepare=False)).fetchone()
        if prepares(url) and answer is not None and not is_pooled(connection, answer["pid"]):
            connection.prepare_threshold = 0

    # Connect once without the pool, whose error says only that it got no connection, and not why.
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


async def set_up_alone(pool: Pool, set_up: Callable[[], Awaitable[None]]) -> None:
    """Tables of LangGraph's libraries are made by one process at a time: of several that begin with an empty database
    all but one would fail, and an index that two create may stay invalid."""
    while not await _set_up_if_first(pool, set_up):  # noqa: ASYNC110 - another process holds the lock
        await asyncio.sleep(random.uniform(SET_UP_PAUSE_S, 2 * SET_UP_PAUSE_S))  # noqa: S311 - no secret


async def _set_up_if_first(pool: Pool, set_up: Callable[[], Awaitable[None]]) -> bool:
    """Whether this process got the lock. It belongs to a transaction, so it also works through a pooler. A process that
    waits for it holds no connection."""
    async with pool.connection() as guard, guard.transaction():
        # Without parameters: a query with parameters keeps a snapshot, and CREATE INDEX CONCURRENTLY would wait for it.
        row = await (await guard.execute(TAKE_LOCK, prepare=False)).fetchone()
        if row is None or not row["mine"]:
            return False
        await set_up()
        return True


def is_away(error: BaseException) -> bool:
    """Whether the database was away during this call. Any other error would come again in the next attempt."""
    if isinstance(error, PoolTimeout | psycopg.errors.AdminShutdown | psycopg.errors.CannotConnectNow):
        return True
    # An error with a code is an answer of the server. The classes 08 and 57P say that the connection is lost.
    code = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.OperationalError) and (code is None or code[:2] == "08" or code[:3] == "57P")


class Patient:
    """A mixin for the saver: reads and writes wait for a database that is away. Each of them may be repeated, because a
    checkpoint is written under its id."""

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
    """The result of `call`, repeated while the database is away. Raises `MemoryAway` after PATIENCE_S, and at once for
    an error that `advice` explains. Raises all other errors at once."""
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
