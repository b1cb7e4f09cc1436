"""The client of the bare chain: sends it, and learns of its end as Celery's own clients do, from the result backend."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from celery import chain
from celery.canvas import Signature

from agent_runner.clients.broker.celery_config import PUBLISH_THREADS, new_celery
from agent_runner.clients.settings.settings import Settings
from bench.bare_worker import FIRST, QUEUE, SECOND

RESULT = "celery-task-meta-"
PATIENCE_S = 120.0


class BareClient:
    """Any number of chains at a time."""

    def __init__(self, settings: Settings) -> None:
        self._app = new_celery(settings, main="bench.client")
        # As our publisher: results are listened to below, not once per task by Celery.
        self._app.conf.update(result_backend=None)
        self._threads = ThreadPoolExecutor(PUBLISH_THREADS)
        self._waiting: dict[str, asyncio.Future[float]] = {}

    @classmethod
    @asynccontextmanager
    async def connected(cls, settings: Settings) -> AsyncIterator["BareClient"]:
        client = cls(settings)
        async with redis.asyncio.from_url(settings.redis_url) as server, server.pubsub() as results:
            await results.psubscribe(f"{RESULT}*")
            listening = asyncio.create_task(client._listen(results))
            try:
                yield client
            finally:
                listening.cancel()
                client._threads.shutdown(wait=False)
                client._app.close()

    async def run(self, graph: str = "", message: str = "") -> float:
        """Seconds from the call to the end of the chain."""
        loop, began, id = asyncio.get_running_loop(), time.monotonic(), uuid.uuid4().hex
        ended = self._waiting[id] = loop.create_future()
        steps = [self._step(FIRST, f"{id}-1", id), self._step(SECOND, id, id, graph, message)]
        await loop.run_in_executor(self._threads, chain(*steps, app=self._app).apply_async)
        ended_at: float = await asyncio.wait_for(ended, PATIENCE_S)
        return ended_at - began

    def _step(self, task: str, task_id: str, *args: str) -> "Signature[Any]":
        options = {"queue": QUEUE, "task_id": task_id}
        return Signature(task, args=args, options=options, immutable=True, app=self._app)

    async def _listen(self, results: Any) -> None:
        async for told in results.listen():
            if told["type"] != "pmessage":
                continue
            ended = self._waiting.pop(told["channel"].decode().removeprefix(RESULT), None)
            if ended is not None and not ended.done():
                ended.set_result(time.monotonic())
