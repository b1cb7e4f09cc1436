"""Exit reports out of Redis do what those over HTTP do, unless a worker has started in the meantime."""

import asyncio
import json
import time
from typing import Any

from agent_runner.app.server.composition import RunningServer
from agent_runner.clients.backend.exit_reports import leave
from agent_runner.clients.settings.settings import Settings

BANNER = "STARTUP FAILURE: Import Error\nno such module\n"


def report(queue: str, **given: Any) -> bytes:
    return json.dumps({"queue": queue, "role": "worker", **given}).encode()


async def until_taken(server: RunningServer) -> None:
    """The orchestrators' queue is looked at after the runners': its second report is of a round that saw all."""
    settings = server.ctx.settings
    for text in ("first", "second"):
        told = report(settings.orchestrator_queue, text=text, startup=True)
        leave(settings.redis_url, settings.orchestrator_queue, told)
        until = time.monotonic() + 20
        while (await server.ctx.store.last_startup_failure(settings.orchestrator_queue) or (0, ""))[1] != text:
            assert time.monotonic() < until, "nobody takes reports from Redis"
            await asyncio.sleep(0.02)


async def test_a_failed_start_is_quoted(server: RunningServer, settings: Settings) -> None:
    queue = settings.runner_queue
    leave(settings.redis_url, queue, b'{"signal": "many"}')
    leave(settings.redis_url, queue, report(queue, text=BANNER, startup=True, exit_code=1))
    await until_taken(server)
    found = await server.ctx.store.last_startup_failure(queue)
    assert found is not None
    assert found[1] == BANNER


async def test_not_when_a_worker_is_up_by_now(server: RunningServer, settings: Settings) -> None:
    queue = settings.runner_queue
    facts = {"role": "worker", "hostname": "h", "pid": 1, "slots": 1, "name": "w", "version": "1"}
    await server.ctx.store.hello(incarnation="w1", queue=queue, **facts)  # type: ignore[arg-type]
    leave(settings.redis_url, queue, report(queue, text=BANNER, startup=True, exit_code=1))
    await until_taken(server)
    assert await server.ctx.store.last_startup_failure(queue) is None
