"""Exit reports that cannot be told over HTTP: the supervisor leaves them in Redis, and a server takes them from there.

For workers whose key is missing or wrong, or that reach the broker's side but not the server's HTTP. They are kept
for ten minutes: an older one would explain what nobody asks any more.
"""

import json
from typing import Any, cast

import redis
from redis.asyncio import Redis

from agent_runner.status.event_logger import event_logger

KEY = "agent_runner:exit_reports:{queue}"
"""By queue, as several stacks may share a Redis."""
KEPT = 100
KEPT_S = 600
TIMEOUT_S = 2.0
log = event_logger(__name__)


def leave(redis_url: str, queue: str, report: bytes) -> None:
    """Put one report (a JSON object) where the queue's servers look. Raises `redis.RedisError`, OSError, ValueError."""
    key = KEY.format(queue=queue)
    with redis.Redis.from_url(redis_url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S) as client:
        client.pipeline().rpush(key, report).ltrim(key, -KEPT, -1).expire(key, KEPT_S).execute()


async def take(client: Redis, queue: str) -> list[dict[str, Any]]:
    """The reports that wait, oldest first, and nobody else gets them. Raises `redis.RedisError` or OSError."""
    found = await client.lpop(KEY.format(queue=queue), KEPT)
    reports = []
    for text in cast("list[bytes]", found or []):
        try:
            report = json.loads(text)
        except ValueError:
            report = None
        if isinstance(report, dict):
            reports.append(report)
        else:
            log.warning("exit_report.unreadable", content=repr(text)[:100])
    return reports
