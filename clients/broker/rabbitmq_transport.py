"""Kombu's AMQP transport, changed to make messages on RabbitMQ as safe as their rows in the database.

The broker confirms task messages (those that go straight to a queue) and returns them when there is no such queue.
Events and replies of control commands need neither. Durable queues are quorum queues where the server has them. No call
waits for ever. It is registered as a transport; nothing in kombu is patched.
"""

import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from amqp.exceptions import ChannelError, MessageNacked, PreconditionFailed, RecoverableConnectionError
from kombu import Queue
from kombu import transport as kombu_transport
from kombu.transport import pyamqp
from kombu.utils.text import version_string_as_tuple

from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)

REPLY_TIMEOUT_S = 10.0
QUORUM_QUEUES_SINCE = (3, 8)
CONSUMER_TIMEOUT_PER_QUEUE_SINCE = (3, 12)
CONSUMER_TIMEOUT_DEFAULT_S = 1800.0
"""A channel that leaves a message unacknowledged for longer is closed by the server."""
NO_ROUTE = 312


def rabbitmq_version(properties: dict[str, Any]) -> tuple[int, ...]:
    """The version, such as (3, 10, 8), from the server's properties; empty if it is another product."""
    if properties.get("product") != "RabbitMQ" or not properties.get("version"):
        return ()
    return tuple(version_string_as_tuple(properties["version"])[:3])


class Channel(pyamqp.Channel):
    """Waits for the confirms of task messages; declares quorum queues; uses an existing queue as it is."""

    connection: Any
    events: Any
    _confirm_selected: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sent, self._awaited, self._taken = 0, 0, False
        for event, taken in (("basic_ack", True), ("basic_nack", False)):
            self.events[event].add(partial(self._on_confirm, taken))

    def _do_revive(self) -> None:
        """Open the channel again after the server closed it; the numbers of messages start again."""
        self._sent = self._awaited = 0
        super()._do_revive()  # type: ignore[misc]

    def basic_publish(  # type: ignore[override]
        self, msg: Any, exchange: str = "", routing_key: str = "", **options: Any
    ) -> Any:
        if not exchange and not self._confirm_selected:
            self.confirm_select()
            self._confirm_selected = True
        self._sent += self._confirm_selected
        if exchange:
            return super().basic_publish(msg, exchange, routing_key, **options)
        # Events on the same channel are confirmed too, perhaps after the next task: the numbers tell them apart.
        self._awaited = self._sent
        try:
            answer = super().basic_publish(msg, "", routing_key, **{**options, "mandatory": True})
            self._wait_for_confirm()
        except TimeoutError as exc:
            self.connection.collect()
            raise RecoverableConnectionError("the broker did not confirm the message in time") from exc
        except ChannelError as exc:
            if exc.reply_code != NO_ROUTE:
                raise
            # Somebody deleted the queue: a new connection declares it again.
            self.connection.collect()
            raise RecoverableConnectionError(f"there is no queue {routing_key}") from exc
        return answer

    def _wait_for_confirm(self) -> None:
        until = time.monotonic() + self.connection.reply_timeout
        while self._awaited:
            if self.connection is None:
                raise RecoverableConnectionError("the connection was closed before the message was confirmed")
            self.connection.drain_events(timeout=max(0.001, until - time.monotonic()))
        if not self._taken:
            raise MessageNacked("the broker did not take the message")

    def _on_confirm(self, taken: bool, number: int, multiple: bool) -> None:
        if self._awaited and (number == self._awaited or (multiple and number > self._awaited)):
            self._awaited, self._taken = 0, taken

    def queue_declare(  # type: ignore[override]
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> Any:
        declare = super().queue_declare
        if passive or exclusive or auto_delete or not durable:
            return declare(queue, passive, durable, exclusive, auto_delete, nowait, arguments)
        if refused := self.declare_task_queue(queue, arguments or {}):
            log.warning("queue.unchanged", queue=queue, refused=refused)
        return declare(queue, passive=True)

    def declare_task_queue(self, queue: str, arguments: dict[str, Any]) -> str:
        """Declare the queue. Returns an empty text, or the server's reason if the queue exists with other arguments."""
        # Added here: among the queue's own arguments, Celery would set up its delayed delivery, 28 more queues.
        if rabbitmq_version(self.connection.server_properties) >= QUORUM_QUEUES_SINCE:
            arguments = {"x-queue-type": "quorum", **arguments}
        # On a separate channel: when the server refuses it closes the channel, and the consumer's prefetch would be
        # lost.
        with self.connection.channel() as own:
            try:
                pyamqp.Channel.queue_declare(own, queue, durable=True, auto_delete=False, arguments=arguments)
            except PreconditionFailed as exc:
                return str(exc.reply_text)
        return ""


def remarks(connection: Any, queues: Iterable[Queue], longest_run_s: float) -> list[str]:
    """Remarks about this broker for the operator. Creates no queue."""
    channel = connection.default_channel
    version = rabbitmq_version(channel.connection.server_properties)
    found = [f"RabbitMQ {'.'.join(map(str, version))}" if version else "not RabbitMQ: never tried"]
    if version and version < CONSUMER_TIMEOUT_PER_QUEUE_SINCE and longest_run_s > CONSUMER_TIMEOUT_DEFAULT_S:
        found.append(
            "give it a consumer_timeout of twice AGENT_RUNNER_MAX_RUN_S; before 3.12 a queue cannot have its own"
        )
    for queue in queues:
        try:
            channel.queue_declare(queue.name, passive=True)
        except ChannelError:
            continue
        if refused := channel.declare_task_queue(queue.name, queue.queue_arguments):
            found.append(f"queue {queue.name} was declared otherwise ({refused}); delete it when it is empty")
    return found


class Connection(pyamqp.Connection):
    """`reply_timeout`, a transport option: seconds that the broker may take to answer."""

    Channel = Channel
    transport: Any

    def __init__(self, *args: Any, reply_timeout: float = REPLY_TIMEOUT_S, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reply_timeout = reply_timeout

    def connect(self, callback: Any = None) -> Any:
        answer = super().connect(callback)
        self.transport.sock.settimeout(self.reply_timeout)
        return answer


class Transport(pyamqp.Transport):
    Connection = Connection

    def qos_semantics_matches_spec(self, connection: Any) -> bool:
        """True: prefetch per consumer. Quorum queues refuse any other, and a worker has one consumer."""
        return True


class SSLTransport(pyamqp.SSLTransport):
    Connection = Connection
    qos_semantics_matches_spec = Transport.qos_semantics_matches_spec


ALIASES = {
    "amqp": f"{__name__}:Transport",
    "pyamqp": f"{__name__}:Transport",
    "amqps": f"{__name__}:SSLTransport",
}


def register() -> None:
    """Make amqp://, pyamqp:// and amqps:// URLs use this transport in this process."""
    known: Any = kombu_transport
    for alias, path in ALIASES.items():
        known.TRANSPORT_ALIASES[alias] = path
        known._transport_cache.pop(alias, None)
