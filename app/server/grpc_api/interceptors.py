"""Every call: key and scope are checked, and whatever goes wrong has a status code that says what (never UNKNOWN)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isawaitable
from typing import Any, NoReturn

import grpc

from app.server.context import ServerContext
from app.server.gate import Gate
from app.server.grpc_api.reading import readable, readable_each, reader
from app.server.problems import Problem, internal, of_exception
from app.server.scopes import OPEN

MAX_TEXT = 3000
"""A status text travels in a header, which has a limit."""
log = logging.getLogger(__name__)


def server_interceptors(ctx: ServerContext) -> list[grpc.aio.ServerInterceptor]:
    """For `grpc.aio.server(interceptors=...)`; they serve all services of the server."""
    return [Guard(ctx.gate)]


class Guard(grpc.aio.ServerInterceptor):
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        if method.startswith(OPEN):
            return _open(handler, method)
        given = dict(handler_call_details.invocation_metadata or ()).get("authorization")

        async def enter() -> None:
            await self._gate.enter(given if isinstance(given, str) else None)
            self._gate.admit(method)

        return _guarded(handler, enter, method)


def _guarded(handler: Any, enter: Callable[[], Awaitable[None]], method: str) -> Any:
    """The same handler, behind the check and with errors mapped. The call's task becomes its principal's."""
    codec = _codec(handler)
    read = readable_each if handler.request_streaming else readable
    if handler.response_streaming:
        stream = handler.stream_stream or handler.unary_stream

        async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                await enter()
                async for reply in stream(read(request), context):
                    yield reply
            except Exception as error:
                await _abort(context, error, method)

        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(streamed, **codec)
    single = handler.stream_unary or handler.unary_unary

    async def answered(request: Any, context: Any) -> Any:
        try:
            await enter()
            return await single(read(request), context)
        except Exception as error:
            await _abort(context, error, method)

    make_one = (
        grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    )
    return make_one(answered, **codec)


def _open(handler: Any, method: str) -> Any:
    """The same handler, for anybody. Health and reflection answer for themselves; what they cannot read is ours."""
    read = readable_each if handler.request_streaming else readable
    if not handler.response_streaming:
        single = handler.stream_unary or handler.unary_unary

        async def answered(request: Any, context: Any) -> Any:
            try:
                return await single(read(request), context)
            except Problem as problem:
                await _abort(context, problem, method)
            except NotImplementedError:  # the library's health service has methods that it does not serve
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not available")

        make_one = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make_one(answered, **_codec(handler))
    stream = handler.stream_stream or handler.unary_stream

    async def streamed(request: Any, context: Any) -> None:
        try:
            replies = stream(read(request), context)
            if isawaitable(replies):  # it writes them itself
                await replies
                return
            async for reply in replies:
                await context.write(reply)
        except Problem as problem:
            await _abort(context, problem, method)

    make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
    return make(streamed, **_codec(handler))


def _codec(handler: Any) -> dict[str, Any]:
    read = handler.request_deserializer
    return {
        "request_deserializer": reader(read) if read else None,
        "response_serializer": handler.response_serializer,
    }


async def _abort(context: Any, error: Exception, method: str) -> NoReturn:
    if isinstance(error, (grpc.aio.AbortError, asyncio.CancelledError)):
        raise error
    if context.done() or isinstance(error, grpc.aio.InternalError):  # nobody is there any more who could be told
        raise asyncio.CancelledError from error
    problem = of_exception(error)
    if problem is None:
        log.error("%s failed", method, exc_info=error)
        problem = internal()
    elif error.__cause__ is not None:
        log.debug("%s: %s: %r", method, problem.code, error.__cause__)
    code = getattr(grpc.StatusCode, problem.kind.grpc_code)
    trailing = [("error-code", problem.code)]
    if problem.retry_after_s:
        trailing.append(("retry-after", str(problem.retry_after_s)))
    try:
        await context.abort(code, problem.text[:MAX_TEXT], trailing_metadata=tuple(trailing))
    except grpc.aio.InternalError as left:
        raise asyncio.CancelledError from left
    raise AssertionError("abort always raises")
