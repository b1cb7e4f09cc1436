"""The server, put together in one place: store, publisher, sweeper, presence, gRPC and HTTP in one event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import grpc
import uvicorn
from ulid import ULID

from agent_runner.app.server.access.api_keys import Keys
from agent_runner.app.server.access.gate import Gate
from agent_runner.app.server.answers.answer_access import answerer
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.executions.dispatch import Dispatcher, Resender
from agent_runner.app.server.grpc_api import register_services, server_interceptors
from agent_runner.app.server.grpc_api.sizes import MOST_BYTES
from agent_runner.app.server.http.connection import Connection, ConnectionLimits
from agent_runner.app.server.http.factory import build_http_app
from agent_runner.app.server.log_feed.wakeups import Wakeups
from agent_runner.app.server.log_feed.watchers import Watchers
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.app.server.maintenance.retention import Retention
from agent_runner.app.server.maintenance.sweeper import Pulse, Sweeper
from agent_runner.app.server.maintenance.thread_expiry import ThreadExpiry
from agent_runner.app.server.resources.sealing import Sealing
from agent_runner.app.server.resources.secret_key_check import settle_secret_key
from agent_runner.app.server.runners.failure_reports import Reports
from agent_runner.app.server.runners.presence import PresenceBoard
from agent_runner.app.server.runners.report_pickup import LeftReports
from agent_runner.app.server.runners.runner_service import RunnerService
from agent_runner.app.server.schedules.makers import schedule_clock
from agent_runner.app.server.webhooks.webhook_sender import WebhookSender
from agent_runner.clients.broker.publisher import Publisher
from agent_runner.clients.broker.start_check import look_at_redis
from agent_runner.clients.broker.task_ends import TaskEnds
from agent_runner.clients.settings.access_settings import EVERY_HOST
from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.tracing.tracing import Tracing, open_tracing
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.schema import migrate
from agent_runner.status.store.store import Store
from agent_runner.v1 import runner_pb2_grpc

log = event_logger(__name__)
STOP_GRACE_S = 3.0
GRPC_OPTIONS = [
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", MOST_BYTES),
    ("grpc.max_metadata_size", 16 << 10),
    # Workers send a ping every 10 s. Without these two options the server takes that for an attack and cuts the stream.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    ctx: ServerContext
    http_port: int
    grpc_port: int
    presence: PresenceBoard
    sweeper: Sweeper
    http: uvicorn.Server


@asynccontextmanager
async def running_server(settings: Settings) -> AsyncIterator[RunningServer]:
    """Starts all parts on entry and stops them on exit. Port 0 means any free port.

    The first sweep comes before the first call: it grants amnesty for the time in which no server ran.
    """
    if EVERY_HOST in settings.hosts:
        log.warning("server.any_host")
    await asyncio.to_thread(look_at_redis, settings)
    await asyncio.to_thread(migrate, settings.database_url)
    async with AsyncExitStack() as up:  # if one part cannot be started, the parts before it are stopped
        store = Store.open(settings.database_url)
        store.turns, store.budgets = settings.turns, settings.budgets
        up.push_async_callback(store.close)
        publisher = Publisher(settings)
        up.push_async_callback(asyncio.to_thread, publisher.close)
        task_ends = TaskEnds(settings)
        up.push_async_callback(asyncio.to_thread, task_ends.close)
        wakeups = Wakeups(settings.redis_url)
        up.push_async_callback(wakeups.stop)
        presence = PresenceBoard(
            store,
            server_id=str(ULID()).lower(),
            worker_lost_grace_s=settings.worker_lost_grace_s,
            beat_every_s=settings.timeouts.beat_every_s,
        )
        tracing = open_tracing(settings, "server")
        up.push_async_callback(asyncio.to_thread, tracing.close, STOP_GRACE_S)
        dispatcher = Dispatcher(store, publisher, tracing)
        ctx = _context(settings, store, dispatcher, wakeups, presence, task_ends, tracing)
        await settle_secret_key(store, ctx.sealing, may_differ=settings.is_local)
        up.push_async_callback(ctx.gate.keys.reading.finish, STOP_GRACE_S)
        up.push_async_callback(ctx.outliving.finish, STOP_GRACE_S)
        up.push_async_callback(ctx.watchers.stop)
        pulse = Pulse(store, settings.sweep_interval_s)
        sweeper = Sweeper(store, wakeups, presence, settings.sweep_interval_s, task_ends)
        await pulse.beat()
        await sweeper.tick()
        await wakeups.start()
        resender = Resender(dispatcher, settings.sweep_interval_s)
        services: list[Background] = [
            pulse, sweeper, resender, Retention.of(ctx), LeftReports(settings, Reports(ctx)), WebhookSender(ctx),
            schedule_clock(ctx),
        ]  # fmt: skip
        for service in services:
            await up.enter_async_context(service)
        await up.enter_async_context(ThreadExpiry(ctx))
        rpc, grpc_port = await _start_grpc(ctx, presence)
        up.push_async_callback(rpc.stop, STOP_GRACE_S)
        http, http_port, http_task = await _start_http(ctx)
        up.push_async_callback(_stop_serving, presence, rpc, http, http_task)
        yield RunningServer(
            ctx=ctx, http_port=http_port, grpc_port=grpc_port, presence=presence, sweeper=sweeper, http=http
        )


def _context(
    settings: Settings,
    store: Store,
    dispatcher: Dispatcher,
    wakeups: Wakeups,
    presence: PresenceBoard,
    task_ends: TaskEnds,
    tracing: Tracing,
) -> ServerContext:
    sealing = Sealing(settings.secret_key.get_secret_value())
    keys = Keys(store, settings.api_key.get_secret_value())
    ctx = ServerContext(
        settings=settings,
        store=store,
        dispatcher=dispatcher,
        wakeups=wakeups,
        watchers=Watchers(store, wakeups),
        sealing=sealing,
        gate=Gate.of(settings, keys, sealing, partial(answerer, store, keys)),
        presence=presence,
        task_ends=task_ends,
        tracing=tracing,
    )
    store.on_end, store.on_retry = ctx.counted.count, ctx.counted.retried
    store.on_rows = ctx.watchers.born
    return ctx


async def _stop_serving(
    presence: PresenceBoard, rpc: grpc.aio.Server, http: uvicorn.Server, http_task: asyncio.Task[None]
) -> None:
    """Stops gRPC and HTTP at the same time. Calls in flight have the same few seconds on both."""
    presence.leaving = True
    http.should_exit = True
    await rpc.stop(STOP_GRACE_S)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(http_task, STOP_GRACE_S)


async def _start_grpc(ctx: ServerContext, presence: PresenceBoard) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(
        interceptors=server_interceptors(ctx),
        options=GRPC_OPTIONS,
        maximum_concurrent_rpcs=ctx.settings.max_grpc_calls,
    )
    runner_pb2_grpc.add_RunnerServicer_to_server(RunnerService(ctx, presence), server)
    register_services(server, ctx)
    address = f"{ctx.settings.bind}:{ctx.settings.grpc_port}"
    credentials = server_credentials(ctx.settings)
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    return server, port


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """The credentials of the gRPC port; None without TLS."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return grpc.ssl_server_credentials([(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())])


async def _start_http(ctx: ServerContext) -> tuple[uvicorn.Server, int, asyncio.Task[None]]:
    listener = socket.create_server((ctx.settings.bind, ctx.settings.http_port), backlog=2048)
    # Connections inherit this option. asyncio sets it only on its own sockets. Without it, the second packet of an
    # answer and each event of a stream wait 40 ms for the client's delayed acknowledgement of the first packet.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    settings = ctx.settings
    limits = ConnectionLimits(
        connections=settings.max_http_connections,
        head_bytes=settings.max_head_bytes,
        head_s=settings.http_head_s,
        body_s=settings.http_body_s,
    )
    config = uvicorn.Config(
        build_http_app(ctx),
        http=partial(Connection, limits),  # type: ignore[arg-type]  # is called like the class
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=int(STOP_GRACE_S),
        ssl_certfile=ctx.settings.tls_cert,
        ssl_keyfile=ctx.settings.tls_key,
    )
    server = uvicorn.Server(config)
    # The server process handles the signals, not the HTTP library.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    while not server.started:
        if task.done():
            listener.close()
            await task
            raise RuntimeError("the HTTP server did not start")
        await asyncio.sleep(0.01)
    return server, listener.getsockname()[1], task
