"""How a worker's gRPC channel is set up, the same for calls and for presence, and how every call on it is made."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from agent_runner.clients.backend.tls import is_tls, target
from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

MAX_MESSAGE_BYTES = 64 << 20
KEEPALIVE_S = 10.0
KEEPALIVE_TIMEOUT_S = 5.0
RECONNECT_FIRST_S, RECONNECT_MOST_S = 0.1, 1.0
PAUSE_FIRST_S, PAUSE_MOST_S = 0.1, 2.0
MAY_PASS = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED})
"""The same call may be answered later."""

Reply = TypeVar("Reply", bound=Message)
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a call is tried. `call_s`: seconds for one try. `total_s`: seconds for all tries with their pauses;
    None: until `stop` says so; 0: one try.

    `waits`: a try waits for a server that is not there yet; else it fails at once. `longer`: each try may take this
    many times longer than the one before. `pause_s`: between the first and the second try; it doubles, up to
    `PAUSE_MOST_S`. `tries`: the most tries.
    """

    call_s: float = 10.0
    total_s: float | None = 30.0
    waits: bool = True
    longer: float = 1.0
    pause_s: float = PAUSE_FIRST_S
    tries: int | None = None


async def answered(
    method: Callable[..., Awaitable[Reply]],
    request: Message,
    *,
    patience: Patience,
    error_of: Callable[[grpc.aio.AioRpcError], Exception],
    metadata: Metadata = (),
    stop: Callable[[], bool] = lambda: False,
) -> Reply:
    """The reply to a call, tried again while the server does not answer. The one place where calls are repeated.

    Raises `error_of(error)` for the error of the last try: when it will not pass, when the patience is used up, or when
    `stop()` says that nobody waits for the answer any more.
    """
    end = None if patience.total_s is None else time.monotonic() + patience.total_s
    pause_s, call_s, tries = patience.pause_s, patience.call_s, 0
    while True:
        left_s = min(call_s, max(end - time.monotonic(), 0.001)) if end is not None and patience.total_s else call_s
        try:
            return await method(request, timeout=left_s, metadata=metadata, wait_for_ready=patience.waits)
        except grpc.aio.AioRpcError as exc:
            tries += 1
            over = tries == patience.tries or (end is not None and time.monotonic() + pause_s >= end)
            if over or stop() or exc.code() not in MAY_PASS:
                raise error_of(exc) from exc
            log.warning("rpc.unanswered", request=type(request).__name__, error=exc)
        await asyncio.sleep(pause_s)
        pause_s, call_s = min(pause_s * 2, max(PAUSE_MOST_S, patience.pause_s)), call_s * patience.longer


def words(exc: grpc.RpcError) -> str:
    """The error's status and the server's message."""
    code, details = getattr(exc, "code", None), getattr(exc, "details", None)
    return f"{code().name}: {details()}" if code and details else repr(exc)


def channel_options() -> list[tuple[str, int]]:
    """Notices a dead link within KEEPALIVE_S + KEEPALIVE_TIMEOUT_S, and reconnects a second after the server is back.

    The ping timeout is a separate option, whose default is one minute. With the default options reconnecting took 13 s.
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
        # Proxy variables of the environment are for model providers. gRPC would use the proxy even for loopback.
        ("grpc.enable_http_proxy", 0),
        # Channels do not share connections, so that each one notices when its own server dies.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def open_channel(settings: "Settings") -> grpc.aio.Channel:
    """A channel to the backend, for the running event loop."""
    address, options = target(settings.backend_endpoint), channel_options()
    credentials = _credentials(settings)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def open_blocking_channel(settings: "Settings") -> grpc.Channel:
    """A channel to the backend, for threads."""
    address, options = target(settings.backend_endpoint), channel_options()
    credentials = _credentials(settings)
    if credentials is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=options)


def _credentials(settings: "Settings") -> grpc.ChannelCredentials | None:
    """None for an endpoint without TLS."""
    if not is_tls(settings.backend_endpoint, settings.tls_ca):
        return None
    return grpc.ssl_channel_credentials(settings.tls_ca.read_bytes() if settings.tls_ca else None)


def authorization(settings: "Settings") -> tuple[tuple[str, str], ...]:
    """The metadata that every call carries."""
    return (("authorization", f"Bearer {settings.api_key.get_secret_value()}"),)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
