"""Wake-ups: "this execution's log has grown", to readers of this server and, over Redis, of all others.

They carry no data and may be lost; a reader looks every second anyway. Redis being away costs latency, nothing else.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

CHANNEL = "agent_runner:wakeups"
BATCH = 200
RETRY_S = 1.0
log = logging.getLogger(__name__)


class Wakeups:
    """`start()`, `stop()`. One publisher coroutine and one listener, whatever the number of executions."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=5, health_check_interval=15)
        self._listener = Redis.from_url(redis_url, socket_connect_timeout=2)
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._mine: dict[asyncio.Task[object] | None, asyncio.Event] = {}
        self._grown: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = False

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(RedisError, OSError):
            await self._redis.aclose()
            await self._listener.aclose()

    def notify(self, execution_id: str) -> None:
        """Wake the readers here at once, those of other servers soon."""
        self._wake(execution_id)
        self._grown.put_nowait(execution_id)

    @contextmanager
    def subscribe(self, execution_id: str) -> Iterator[None]:
        """Register this task as a reader, before its first read."""
        event = asyncio.Event()
        me = asyncio.current_task()
        self._mine[me] = event
        self._waiting.setdefault(execution_id, set()).add(event)
        try:
            yield
        finally:
            self._mine.pop(me, None)
            readers = self._waiting.get(execution_id, set())
            readers.discard(event)
            if not readers:
                self._waiting.pop(execution_id, None)

    async def wait(self, execution_id: str, timeout_s: float) -> bool:
        """Until this reader's execution grew since its last wait. False when the time passed."""
        event = self._mine.get(asyncio.current_task())
        if event is None:  # a generator that was handed to another task: fall back to looking
            await asyncio.sleep(timeout_s)
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)
        woken = event.is_set()
        event.clear()
        return woken

    async def ping(self) -> None:
        """Raises when Redis does not answer."""
        await self._redis.ping()

    def _wake(self, execution_id: str) -> None:
        for event in self._waiting.get(execution_id, ()):
            event.set()

    async def _publish(self) -> None:
        while True:
            ids = {await self._grown.get()}
            while len(ids) < BATCH and not self._grown.empty():
                ids.add(self._grown.get_nowait())
            try:
                await self._redis.publish(CHANNEL, " ".join(sorted(ids)))
            except (RedisError, OSError) as error:
                log.debug("wake-up not published: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._listener.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    self.connected = True
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            for execution_id in message["data"].decode().split():
                                self._wake(execution_id)
            except (RedisError, OSError) as error:
                if self.connected:
                    log.warning("Redis is away; readers look every second: %s", error)
                self.connected = False
                await asyncio.sleep(RETRY_S)
