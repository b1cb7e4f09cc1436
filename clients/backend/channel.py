"""How a worker's gRPC channel is set up; the same for calls and for presence."""

from typing import TYPE_CHECKING

import grpc

from agent_runner.clients.backend.tls import is_tls, target

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

MAX_MESSAGE_BYTES = 64 << 20
KEEPALIVE_S = 10.0
KEEPALIVE_TIMEOUT_S = 5.0
RECONNECT_FIRST_S, RECONNECT_MOST_S = 0.1, 1.0


def channel_options() -> list[tuple[str, int]]:
    """Notices a dead link within KEEPALIVE_S + KEEPALIVE_TIMEOUT_S and is back a second after the server is.

    The ping timeout is an option of its own, a minute by default; reconnecting by the defaults took 13 s.
    """
    return [
        ("grpc.keepalive_time_ms", _ms(KEEPALIVE_S)),
        ("grpc.keepalive_timeout_ms", _ms(KEEPALIVE_TIMEOUT_S)),
        ("grpc.http2.ping_timeout_ms", _ms(KEEPALIVE_TIMEOUT_S)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", _ms(RECONNECT_FIRST_S)),
        ("grpc.min_reconnect_backoff_ms", _ms(RECONNECT_FIRST_S)),
        ("grpc.max_reconnect_backoff_ms", _ms(RECONNECT_MOST_S)),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        # A proxy of the environment is for model providers. gRPC would take even loopback through it.
        ("grpc.enable_http_proxy", 0),
        # Each process sees its own server die: no connection is shared behind our back.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def open_channel(settings: "Settings") -> grpc.aio.Channel:
    """To the backend, for the event loop that runs."""
    address, options = target(settings.backend_endpoint), channel_options()
    credentials = _credentials(settings)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def open_blocking_channel(settings: "Settings") -> grpc.Channel:
    """To the backend, for threads."""
    address, options = target(settings.backend_endpoint), channel_options()
    credentials = _credentials(settings)
    if credentials is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=options)


def _credentials(settings: "Settings") -> grpc.ChannelCredentials | None:
    """None where the endpoint is spoken to in clear."""
    if not is_tls(settings.backend_endpoint, settings.tls_ca):
        return None
    return grpc.ssl_channel_credentials(settings.tls_ca.read_bytes() if settings.tls_ca else None)


def authorization(settings: "Settings") -> tuple[tuple[str, str], ...]:
    """The metadata that every call carries."""
    return (("authorization", f"Bearer {settings.api_key.get_secret_value()}"),)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
