"""Wake-ups: "this execution's log has grown", to the watchers of this server and, over Redis, of all others.

They carry no data and may be lost: a watcher looks every second anyway. Without Redis only the latency grows.

A server that is alone publishes at most once a second: nobody listens. Redis answers how many heard a message, and a
server that begins to listen says so, so that the others publish at once again.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from ulid import ULID

from agent_runner.status.event_logger import event_logger

CHANNEL = "agent_runner:wakeups"
BATCH = 200
MOST_HEARD = 1000
RETRY_S = 1.0
ALONE_EVERY_S = 1.0
SILENT_S = 10.0
"""A connection that is silent for this long gets a ping. Without an answer in the same time it is given up."""
log = event_logger(__name__)


class Heard:
    """Ids of executions that have changed: the newest `MOST_HEARD`, each once."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, execution_id: str) -> None:
        self._ids.pop(execution_id, None)
        self._ids[execution_id] = None
        if len(self._ids) > MOST_HEARD:
            del self._ids[next(iter(self._ids))]

    def take(self) -> list[str]:
        """What was heard since the last call."""
        ids, self._ids = list(self._ids), {}
        return ids


class Wakeups:
    """`start()`, `stop()`. One publisher coroutine and one listener, whatever the number of executions."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=5, health_check_interval=15)
        self._listener = Redis.from_url(redis_url, socket_connect_timeout=2)
        self._me = f"server:{str(ULID()).lower()}"
        """The first word of our messages. A server ignores its own, because it has woken its watchers already."""
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._grown: dict[str, None] = {}
        """The executions to publish, each once and in order, however long Redis is away."""
        self._to_publish = asyncio.Event()
        self._others = asyncio.Event()
        """Set while other servers may listen."""
        self._hearing: list[Heard] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = False

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        left = set(self._tasks)
        while left:  # repeated: `asyncio.wait_for` loses a cancel that comes with an answer of Redis
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.1)
        with suppress(RedisError, OSError):
            await self._redis.aclose()
            await self._listener.aclose()

    def notify(self, execution_id: str, *, here: bool = True) -> None:
        """Wake the watchers here at once, those of other servers soon. `here` False: those here have the rows."""
        if here:
            self._wake(execution_id)
        self._note(execution_id)
        self._grown[execution_id] = None
        self._to_publish.set()

    @contextmanager
    def subscribe(self, execution_id: str) -> Iterator[asyncio.Event]:
        """The event is set when the log has grown; the one who waits clears it. Enter before the first read."""
        woken = asyncio.Event()
        self._waiting.setdefault(execution_id, set()).add(woken)
        try:
            yield woken
        finally:
            waiting = self._waiting.get(execution_id, set())
            waiting.discard(woken)
            if not waiting:
                self._waiting.pop(execution_id, None)

    @contextmanager
    def hear(self) -> Iterator["Heard"]:
        """Collects the ids of all wake-ups, of this server and of others, while the block runs."""
        heard = Heard()
        self._hearing.append(heard)
        try:
            yield heard
        finally:
            self._hearing.remove(heard)

    async def ping(self) -> None:
        """Raises when Redis does not answer."""
        await self._redis.ping()

    def _wake(self, execution_id: str) -> None:
        for woken in self._waiting.get(execution_id, ()):
            woken.set()

    def _note(self, execution_id: str) -> None:
        for heard in self._hearing:
            heard.add(execution_id)

    async def _publish(self) -> None:
        published_at = 0.0
        while True:
            await self._to_publish.wait()
            if (rest_s := published_at + ALONE_EVERY_S - time.monotonic()) > 0 and not self._others.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(rest_s):
                        await self._others.wait()
            published_at = time.monotonic()
            ids = list(islice(self._grown, BATCH))
            for execution_id in ids:
                del self._grown[execution_id]
            if not self._grown:
                self._to_publish.clear()
            try:
                if await self._redis.publish(CHANNEL, " ".join([self._me, *ids])) <= self.connected:
                    self._others.clear()
            except (RedisError, OSError) as error:
                log.debug("wakeup.not_published", error=error)
                await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._listener.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    self.connected = True
                    self._others.set()
                    self._to_publish.set()  # the others hear that somebody listens here
                    await self._hear(pubsub)
            except (RedisError, OSError) as error:
                if self.connected:
                    log.warning("redis.away", error=error)
                self.connected = False
                await asyncio.sleep(RETRY_S)

    async def _hear(self, pubsub: PubSub) -> None:
        """Raises when the connection is lost, also without an error from the network: then Redis does not answer."""
        asked = False
        while True:
            message = await pubsub.get_message(timeout=SILENT_S)
            if message is None:
                if asked:
                    raise ConnectionError(f"no answer for {SILENT_S:g} s")
                await pubsub.ping()
            elif message["type"] == "message":
                publisher, *ids = message["data"].decode().split()
                if publisher != self._me:
                    self._others.set()
                    for execution_id in ids:
                        self._wake(execution_id)
                        self._note(execution_id)
            asked = message is None
