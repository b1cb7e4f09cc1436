"""What the guard of gRPC makes of the services' handlers."""

from types import SimpleNamespace
from typing import Any

import grpc

from agent_runner.app.server.access.gate import Gate
from agent_runner.app.server.access.open_calls import Crowd
from agent_runner.app.server.access.rate_limit import RateLimit
from agent_runner.app.server.access.stream_tickets import StreamTickets
from agent_runner.app.server.grpc_api.interceptors import Guard
from agent_runner.app.server.resources.sealing import Sealing
from agent_runner.clients.settings.settings import Settings

METHOD = "/grpc.health.v1.Health/Check"


async def test_a_handler_is_made_once_for_a_method() -> None:
    """Each call of a method gets the same guarded handler; another service's handler gets one of its own."""
    crowd = Crowd(1, "calls", "A_SETTING")
    guard = Guard(Gate(None, RateLimit(0), StreamTickets(Sealing("")), None, streams=crowd, calls=crowd), Settings())  # type: ignore[arg-type]
    own: Any = grpc.unary_unary_rpc_method_handler(lambda *_: None)
    other: Any = grpc.unary_unary_rpc_method_handler(lambda *_: None)

    async def guarded(handler: Any) -> Any:
        async def found(_: object) -> Any:
            return handler

        details = SimpleNamespace(method=METHOD, invocation_metadata=())
        return await guard.intercept_service(found, details)

    first = await guarded(own)
    assert first is await guarded(own)
    assert first is not own
    assert first is not await guarded(other)
