"""Binds tables of methods to services, as the generated descriptors describe them. A missing method is an error."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.contract.rules import validate
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.grpc_api.execution_methods import execution_methods
from agent_runner.app.server.grpc_api.resource_methods import resource_methods
from agent_runner.app.server.problems import violated

Method = Callable[[Any, Any], Any]
"""(request, context) -> awaitable of the reply, or async iterator of replies."""
RUNNER_SERVICE = "agent_runner.v1.Runner"
COMPLETED_LATER = frozenset({"spec.message"})
"""An execution's message may come from its annotation for input. It is completed and checked later."""


def register_services(server: grpc.aio.Server, ctx: ServerContext) -> list[str]:
    """Add the contract's services, `agent_runner.v1.Executions`, health and reflection. Returns all full names.

    Reflection also names the Runner service, which the composition adds.
    """
    edges = Edges.of(ctx)
    tables: dict[str, Mapping[str, Method]] = {**resource_methods(edges), **execution_methods(edges)}
    server.add_generic_rpc_handlers(tuple(_handlers(name, methods) for name, methods in tables.items()))
    names = [*tables, RUNNER_SERVICE]
    _add_health(server, names, ctx)
    names += [health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    return names


def _handlers(service: str, methods: Mapping[str, Method]) -> grpc.GenericRpcHandler:
    described = descriptor_pool.Default().FindServiceByName(service).methods
    if missing := {m.name for m in described} ^ methods.keys():
        raise LookupError(f"{service}: methods without a handler, or unknown: {sorted(missing)}")
    return grpc.method_handlers_generic_handler(service, {m.name: _handler(m, methods[m.name]) for m in described})


def _handler(described: MethodDescriptor, method: Method) -> Any:
    codec: dict[str, Any] = {
        "request_deserializer": message_factory.GetMessageClass(described.input_type).FromString,
        "response_serializer": message_factory.GetMessageClass(described.output_type).SerializeToString,
    }

    if described.server_streaming:

        async def stream(request: Any, context: Any) -> Any:
            _check(request)
            async for reply in method(request, context):
                yield reply

        return grpc.unary_stream_rpc_method_handler(stream, **codec)

    async def answer(request: Any, context: Any) -> Any:
        _check(request)
        return await method(request, context)

    return grpc.unary_unary_rpc_method_handler(answer, **codec)


def _check(request: Any) -> None:
    """Checks the whole request, also its status, which the services do not read. Raises INVALID_ARGUMENT.

    Its texts were checked when it was read (`agent_runner.app.server.grpc_api.reading`).
    """
    violations = validate(request)
    if any(violation.field not in COMPLETED_LATER for violation in violations):
        raise violated(violations)


def _add_health(server: grpc.aio.Server, names: list[str], ctx: ServerContext) -> None:
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)

    async def serving() -> None:
        for name in names:
            await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    ctx.soon(serving())
