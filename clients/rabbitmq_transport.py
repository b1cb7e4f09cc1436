"""Kombu's AMQP transport, with what makes a queue on RabbitMQ as safe as the rows that its messages stand for.

Task messages (those that go straight to a queue) are confirmed by the broker and come back when there is no such queue;
events and replies of control commands are neither. Durable queues are quorum queues where the server has them. No
call waits for ever. It is registered as a transport; nothing in kombu is patched.
"""

import logging
from typing import Any

from amqp.exceptions import ChannelError, PreconditionFailed, RecoverableConnectionError
from kombu import transport as kombu_transport
from kombu.exceptions import OperationalError
from kombu.transport import pyamqp
from kombu.utils.text import version_string_as_tuple

log = logging.getLogger(__name__)

REPLY_TIMEOUT_S = 30.0
QUORUM_QUEUES_SINCE = (3, 8)
CONSUMER_TIMEOUT_PER_QUEUE_SINCE = (3, 12)
NO_ROUTE = 312


def rabbitmq_version(properties: dict[str, Any]) -> tuple[int, ...]:
    """(3, 10, 8) from what the server says of itself; empty if it is another product."""
    if properties.get("product") != "RabbitMQ" or not properties.get("version"):
        return ()
    return tuple(version_string_as_tuple(properties["version"])[:3])


class Channel(pyamqp.Channel):
    """Confirms task messages; declares quorum queues; takes a queue that exists as it is."""

    connection: Any

    def basic_publish(self, msg: Any, exchange: str = "", routing_key: str = "", **options: Any) -> Any:
        if exchange:
            return super().basic_publish(msg, exchange, routing_key, **options)
        try:
            return self.basic_publish_confirm(msg, exchange, routing_key, **{**options, "mandatory": True})
        except TimeoutError as exc:
            # A confirmation that comes later would be taken for the next message's.
            self.connection.collect()
            raise OperationalError("the broker did not confirm the message in time") from exc
        except ChannelError as exc:
            if exc.reply_code != NO_ROUTE:
                raise
            # Somebody deleted the queue: a new connection declares it again.
            self.connection.collect()
            raise RecoverableConnectionError(f"there is no queue {routing_key}") from exc

    def queue_declare(
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
        # Not among the queue's own arguments: Celery would set up its delayed delivery, some 60 queues and exchanges.
        if rabbitmq_version(self.connection.server_properties) >= QUORUM_QUEUES_SINCE:
            arguments = {"x-queue-type": "quorum", **(arguments or {})}
        # On a channel of its own: the server closes one where it refuses, and with it goes the consumer's prefetch.
        with self.connection.channel() as own:
            try:
                return pyamqp.Channel.queue_declare(own, queue, False, True, False, False, False, arguments)
            except PreconditionFailed as exc:
                log.warning("the queue %s stays as it is: %s", queue, exc.reply_text)
        return declare(queue, passive=True)


class Connection(pyamqp.Connection):
    """`reply_timeout`, a transport option: seconds that the broker may take to answer."""

    Channel = Channel
    transport: Any

    def __init__(self, *args: Any, reply_timeout: float = REPLY_TIMEOUT_S, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reply_timeout = reply_timeout

    def connect(self, callback: Any = None) -> Any:
        answer = super().connect(callback)
        self.transport.sock.settimeout(self._reply_timeout)
        return answer


class Transport(pyamqp.Transport):
    Connection = Connection

    def qos_semantics_matches_spec(self, connection: Any) -> bool:
        """Prefetch per consumer: quorum queues refuse any other, and a worker has one consumer."""
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
