"""Checks a Redis before a process works with it: does it keep queued messages, and may we use our keys?

A Redis that does not answer is not reported here: the code that needs it waits for it, or reports it.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import redis

from agent_runner.clients.broker.redis_probe import Command, RedisFull, evicts, open_client, refused
from agent_runner.clients.settings.service_urls import without_password
from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)
LIMIT_S = 2.0
NO_PREFIX = (
    "its user may not use our keys ({said}): a prefix of keys is not supported."
    " Give agent-runner a database number or a server of its own, and its user the keys of docs/guides/surroundings.md"
)


def look_at_redis(settings: "Settings") -> None:
    """Warn in the log about a Redis that evicts or is full. Raises ValueError if its user may not use one of our keys:
    everything would seem to start, and nothing would run. Blocks for a few seconds at most."""
    keys: list[Command] = [("LLEN", queue) for queue in (settings.runner_queue, settings.orchestrator_queue)]
    keys += [("SMEMBERS", f"_kombu.binding.{settings.runner_queue}"), ("HGET", "unacked", "probe")]
    wanted: dict[str, list[Command]] = {settings.redis_url: [("GET", "celery-task-meta-probe")]}
    if urlsplit(settings.broker_url).scheme in ("redis", "rediss", "unix"):
        wanted[settings.broker_url] = [*wanted.get(settings.broker_url, []), *keys]
    for url, commands in wanted.items():
        _look(url, commands)


def _look(url: str, commands: list[Command]) -> None:
    shown = without_password(url)
    try:
        with open_client(url, LIMIT_S) as client:
            withheld = [said for said in refused(client, commands) if "access" in said and "key" in said]
            policy = "" if withheld else evicts(client)
    except RedisFull:
        log.warning("redis.full", url=shown)
        return
    except (redis.RedisError, OSError) as error:
        log.debug("redis.not_checked", url=shown, error=error)
        return
    if withheld:
        raise ValueError(f"{shown}: {NO_PREFIX.format(said=withheld[0])}")
    if policy:
        log.warning("redis.evicts", url=shown, policy=policy)
