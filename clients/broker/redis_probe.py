"""Finds out which commands a Redis does not permit, without executing any.

Every command that the product and its libraries use is queued in a transaction, which is then discarded. Redis checks a
command (permissions, memory) when it is queued. The commands are also the list for an ACL.
"""

from collections.abc import Iterable
from typing import Any

import redis

from agent_runner.clients.backend.exit_reports import KEY as EXIT_REPORTS

SAMPLE = "agent-runner-probe"
WAKEUPS = "agent_runner:wakeups"
Command = tuple[str | int, ...]


class RedisFull(Exception):
    """This Redis takes no writes: its maxmemory is used up, and its policy refuses them."""


def broker_commands(queues: Iterable[str], db: int = 0) -> list[Command]:
    """The commands that kombu sends to a broker, one of each kind, with the real names of the keys."""
    found: list[Command] = [("PING",)]
    for queue in queues:
        found += [("LPUSH", queue, ""), ("RPUSH", queue, ""), ("BRPOP", queue, 1), ("LLEN", queue)]
        found += [("SADD", f"_kombu.binding.{queue}", ""), ("SMEMBERS", f"_kombu.binding.{queue}")]
    found += [("HSET", "unacked", SAMPLE, ""), ("HGET", "unacked", SAMPLE), ("HDEL", "unacked", SAMPLE)]
    found += [("ZADD", "unacked_index", 0, SAMPLE), ("ZREM", "unacked_index", SAMPLE)]
    found += [("ZREVRANGEBYSCORE", "unacked_index", 0, 0), ("SET", "unacked_mutex", "", "NX", "PX", 1)]
    return [*found, ("PUBLISH", f"/{db}.celeryev/{SAMPLE}", ""), ("PSUBSCRIBE", f"/{db}.celeryev/{SAMPLE}")]


def own_commands(queues: Iterable[str]) -> list[Command]:
    """The commands for the Redis of task results, wake-ups and exit reports."""
    result = f"celery-task-meta-{SAMPLE}"
    found: list[Command] = [("PING",), ("SETEX", result, 1, ""), ("GET", result), ("DEL", result)]
    found += [("PUBLISH", result, ""), ("SUBSCRIBE", result), ("PUBLISH", WAKEUPS, ""), ("SUBSCRIBE", WAKEUPS)]
    for queue in queues:
        key = EXIT_REPORTS.format(queue=queue)
        found += [("RPUSH", key, ""), ("LTRIM", key, 0, 0), ("LPOP", key), ("EXPIRE", key, 1)]
    return found


def open_client(url: str, timeout_s: float) -> "redis.Redis":
    return redis.Redis.from_url(url, socket_connect_timeout=timeout_s, socket_timeout=timeout_s)


def refused(client: "redis.Redis", wanted: Iterable[Command]) -> list[str]:
    """The commands that are not permitted, each with Redis' own message. Raises `RedisFull`, and `redis.RedisError` if
    Redis does not answer."""
    connection: Any = client.connection_pool.get_connection()
    said: list[str] = []
    try:
        connection.send_command("MULTI")
        connection.read_response()
        for command in wanted:
            connection.send_command(*command)
            try:
                connection.read_response()
            except redis.exceptions.OutOfMemoryError as error:
                raise RedisFull("it is full: maxmemory is used up and its policy refuses writes") from error
            except redis.exceptions.ResponseError as error:
                said.append(f"{' '.join(map(str, command[:2]))}: {error}")
        connection.send_command("DISCARD")
        connection.read_response()
    finally:
        connection.disconnect()  # this also drops commands that are still queued
        client.connection_pool.release(connection)
    return said


def evicts(client: "redis.Redis") -> str:
    """The eviction policy, if it may remove messages that nobody has read; empty if not, or if we may not ask."""
    try:
        memory = client.info("memory")
    except redis.exceptions.ResponseError:
        return ""
    policy = str(memory.get("maxmemory_policy") or "")
    return policy if policy.startswith("allkeys-") and int(memory.get("maxmemory") or 0) else ""
