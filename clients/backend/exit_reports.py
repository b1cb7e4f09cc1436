"""Exit reports that cannot be sent over HTTP: the supervisor stores them in Redis, and a server takes them from there.

For workers whose key is missing or wrong, and for workers that reach Redis but not the server's HTTP port. A report is
kept for ten minutes; nobody needs an older one.
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
    """Append one report (a JSON object) to the queue's list. Raises `redis.RedisError`, OSError, ValueError."""
    key = KEY.format(queue=queue)
    with redis.Redis.from_url(redis_url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S) as client:
        client.pipeline().rpush(key, report).ltrim(key, -KEPT, -1).expire(key, KEPT_S).execute()


async def take(client: Redis, queue: str) -> list[dict[str, Any]]:
    """Remove and return the waiting reports, oldest first. Raises `redis.RedisError` or OSError."""
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
