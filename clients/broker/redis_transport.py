"""Kombu's Redis transport, made to survive an outage of Redis while late-acked messages are in flight.

The stock transport of 5.7 ends the whole worker in that case, because the closing channel uses a connection that is
gone. Where the worker survives, it puts messages back whose tasks are still running here, so that they run twice. This
transport acks through a client that no channel owns. It keeps acks that could not be written until Redis is back. A
channel that closes puts its messages back only while the worker is shutting down. A worker can start with a full Redis,
because the messages that fill it wait for workers. It is registered as a transport; nothing in kombu is patched.

Known limit: a message that was popped when Redis died, before it was recorded as unacked, is lost. The server sends it
again from the row.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty
from typing import Any

import redis
from kombu import transport as kombu_transport
from kombu.transport import redis as stock
from kombu.transport import virtual

from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)

PAUSE_AFTER_FAILURE_S = 1.0
"""Acks come from the consumer's own thread: a Redis that does not answer must not hold it up once per ack."""


REFUSALS = (redis.exceptions.OutOfMemoryError, redis.exceptions.NoPermissionError)
"""Redis answers, but does not do it: it is full, or its user may not. Both can pass without a restart of ours."""


class Acks:
    """The acks of one Redis database that are not written yet, and a separate client to write them."""

    def __init__(self, client: Any, unacked_key: str, index_key: str) -> None:
        self._client = client
        self._unacked_key = unacked_key
        self._index_key = index_key
        self._lock = threading.Lock()
        self._pending: set[str] = set()
        self._held: set[str] = set()
        self._not_before = 0.0

    def ack(self, tag: str) -> None:
        """Write this ack, or keep it for the next one or the next connection. Never raises for an outage."""
        with self._lock:
            self._pending.add(tag)
            self._held.discard(tag)
        if time.monotonic() >= self._not_before:
            self.flush()

    def flush(self) -> None:
        """Write every pending ack. Writing one twice does no harm."""
        with self._lock:
            tags = tuple(self._pending)
        if not tags:
            return
        try:
            # Not as a transaction, which a full Redis refuses, although both commands only free memory. The message is
            # deleted before its entry in the index, because an entry without a message is ignored.
            pipe = self._client.pipeline(transaction=False)
            pipe.hdel(self._unacked_key, *tags).zrem(self._index_key, *tags).execute()
        except (redis.RedisError, OSError) as exc:
            self._not_before = time.monotonic() + PAUSE_AFTER_FAILURE_S
            log.warning("ack.delayed", acks=len(tags), error=exc)
            return
        with self._lock:
            self._pending.difference_update(tags)

    def hold(self, tags: set[str]) -> None:
        """Remember messages of a channel that is gone, whose tasks are still running here."""
        with self._lock:
            self._held |= tags

    def take_held(self) -> set[str]:
        with self._lock:
            held, self._held = self._held - self._pending, set()
        return held


_acks: dict[tuple[object, ...], Acks] = {}


class QoS(stock.QoS):
    """Acks through `Acks`. While the worker is not shutting down, a closed channel puts no message back."""

    channel: Any
    _delivered: Any
    _on_collect: Any
    _flush: Any

    def append(self, message: Any, delivery_tag: str) -> None:
        """A full Redis cannot record a delivery; then the row in the database is the record, and the server sends it
        again. Where the user may not record it, the error ends the connection: a task that cannot publish what comes
        after it should not begin."""
        try:
            super().append(message, delivery_tag)
        except redis.exceptions.OutOfMemoryError as exc:
            log.warning("delivery.not_noted", error=exc)
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        self.channel.acks.ack(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Put back messages that nobody acked for too long. Redis may refuse the lock; the next try comes soon."""
        try:
            super().restore_visible(*args, **kwargs)
        except REFUSALS as exc:
            log.debug("delivery.not_restored", error=exc)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if not requeue:
            self.ack(delivery_tag)
            return
        try:
            super().reject(delivery_tag, requeue=True)
        except AttributeError as exc:
            # The channel has lost its connection: raise an error that the consumer expects.
            raise self.channel.connection_errors[0](f"cannot requeue, the channel is closed: {exc}") from exc

    def restore_unacked_once(self, stderr: Any = None) -> None:
        if not _worker_runs_on():
            super().restore_unacked_once(stderr)
            self._restore_held()
            return
        self._on_collect.cancel()
        self._flush()
        self.channel.acks.hold(set(self._delivered))
        self._delivered.clear()
        self._delivered.restored = True

    def _restore_held(self) -> None:
        for tag in self.channel.acks.take_held():
            try:
                self.restore_by_tag(tag)
            except (redis.RedisError, OSError, AttributeError) as exc:
                log.warning("message.unacked", tag=tag, error=exc)


def _worker_runs_on() -> bool:
    """True in a Celery worker that nobody asked to stop. A publisher never imports the worker's state."""
    state: Any = sys.modules.get("celery.worker.state")
    return state is not None and state.should_stop is None and state.should_terminate is None


class _Channel:
    """The changes that our plain channel and our Sentinel channel share."""

    QoS = QoS
    _steady: Any = None
    _reads = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unbound: set[tuple[str, str, str, str]] = set()
        self._bind_not_before = 0.0
        self.acks = self._find_acks()
        self.acks.flush()

    def _size(self: Any, queue: str) -> int:
        """The number of messages in a queue. Not as a transaction, in which a full Redis refuses even reads."""
        with self.conn_or_acquire() as client:
            pipe = client.pipeline(transaction=False)
            for step in self.priority_steps:
                pipe.llen(self._q_for_pri(queue, step))
            return sum(map(int, pipe.execute()))

    def _queue_bind(self: Any, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Write the queue's binding, which publishers read. A full Redis gets it when it has room (`_bind_again`)."""
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[misc]
        except redis.exceptions.OutOfMemoryError:
            if queue not in self._fanout_queues:  # fanout queues are found by their channel
                self._unbound.add((exchange, routing_key, pattern, queue))
                log.warning("queue.not_bound", queue=queue)

    def _brpop_start(self, timeout: Any = None) -> None:
        if self._unbound and time.monotonic() >= self._bind_not_before:
            self._bind_again()
        super()._brpop_start(timeout)  # type: ignore[misc]

    def maybe_refresh_binding_expiry(self) -> None:
        """Record that a queue of a control command is still in use. A full Redis gets it a second later."""
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[misc]
        except redis.exceptions.OutOfMemoryError as exc:
            log.debug("queue.expiry_kept", error=exc)

    def _bind_again(self) -> None:
        self._bind_not_before = time.monotonic() + PAUSE_AFTER_FAILURE_S
        for binding in tuple(self._unbound):
            try:
                super()._queue_bind(*binding)  # type: ignore[misc]
            except (redis.RedisError, OSError) as exc:
                log.debug("queue.bind_failed", queue=binding[-1], error=exc)
                return
            self._unbound.discard(binding)
            log.info("queue.bound", queue=binding[-1])

    def end_poll(self: Any) -> None:
        """Wait for the answer of the BRPOP that is under way, at most its second. Without a consumer the message goes
        back.

        For a worker that leaves: a message that stays in its socket is lost to everybody. Safe in a signal handler.
        """
        if self._in_poll and not self._reads:
            with suppress(Empty):
                self._brpop_read()

    def _brpop_read(self, **options: Any) -> Any:
        self._reads = True
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        finally:
            self._reads = False

    def _find_acks(self: Any) -> Acks:
        """One `Acks` per database and process; made while connected, because a closed channel cannot make it."""
        info = self.connection.client
        key = (info.hostname, info.port, info.virtual_host, tuple(info.alt), self.unacked_key, self.global_keyprefix)
        if key not in _acks:
            client = self.Client(connection_pool=self._get_pool())
            _acks[key] = Acks(client, self.unacked_key, self.unacked_index_key)
        return _acks[key]

    @contextmanager
    def conn_or_acquire(self: Any, client: Any = None) -> Iterator[Any]:
        """One client for all commands. The stock channel makes one per command: a sixth of the throughput."""
        if client:
            yield client
            return
        if self._steady is None or self._steady.connection_pool is not self.pool:
            self._steady = self._create_client()
        yield self._steady


class Channel(_Channel, stock.Channel):  # type: ignore[misc]
    pass


class Transport(stock.Transport):
    Channel = Channel


ALIASES = {
    "redis": f"{__name__}:Transport",
    "rediss": f"{__name__}:Transport",
}


def register() -> None:
    """Make redis://, rediss:// and redis+socket:// URLs use this transport in this process.

    By alias and not by the `broker_transport` setting. That setting is lost when a connection fails over to the next
    URL of a list. It is not read for redis+socket://. It turns TLS off for a rediss:// URL without options.
    """
    known: Any = kombu_transport
    for alias, path in ALIASES.items():
        known.TRANSPORT_ALIASES[alias] = path
        known._transport_cache.pop(alias, None)
