"""Checks key and scope of every call, and gives every error a fitting status code (never UNKNOWN)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from inspect import isawaitable
from typing import Any, NoReturn

import grpc

from agent_runner.app.server.access.gate import Gate
from agent_runner.app.server.access.request_ids import REQUEST_ID, request_id
from agent_runner.app.server.access.scopes import OPEN, needed
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.grpc_api.reading import Most, readable, readable_each, reader
from agent_runner.app.server.grpc_api.sizes import CALL_BYTES, most_of
from agent_runner.app.server.problems import Kind, Problem, internal, invalid, of_exception
from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.tracing.tracing import NO_SPAN, OFF, Tracing, context_in
from agent_runner.status.api_keys import Scope
from agent_runner.status.event_logger import bind, event_logger

MAX_TEXT = 3000
"""A status text travels in a header, which has a limit."""
MESSAGE_S = 30.0
log = event_logger(__name__)


def server_interceptors(ctx: ServerContext) -> list[grpc.aio.ServerInterceptor]:
    """For `grpc.aio.server(interceptors=...)`; they serve all services of the server."""
    return [Guard(ctx.gate, ctx.settings, ctx.tracing)]


class Guard(grpc.aio.ServerInterceptor):
    def __init__(self, gate: Gate, settings: Settings, tracing: Tracing = OFF) -> None:
        self._gate = gate
        self._tracing = tracing
        self._settings = settings
        self._made: dict[str, tuple[Any, Any]] = {}
        """Method: the service's handler and the one made of it. They are the same for every call."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Runs before the request is read. A caller without permission gets an error, and the request is not parsed."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        if method.startswith(OPEN):
            return self._once(handler, method)
        metadata = dict(handler_call_details.invocation_metadata or ())
        given = metadata.get("authorization")
        try:
            # The handler runs in this same task: the bound fields and the principal hold for it too.
            bind(request_id=request_id(metadata.get(REQUEST_ID)))
            await self._gate.enter(given if isinstance(given, str) else None)
            self._gate.admit(method)
        except Exception as error:
            return _refusing(error, method)
        return self._once(handler, method)

    def _once(self, handler: Any, method: str) -> Any:
        of, made = self._made.get(method, (None, None))
        if of is not handler:
            made = self._make(handler, method)
            self._made[method] = handler, made
        return made

    def _make(self, handler: Any, method: str) -> Any:
        if method.startswith(OPEN):
            return _open(handler, method, Most(CALL_BYTES))
        most = most_of(method, self._settings)
        if needed(method) is Scope.RUNNER:
            return _of_runners(handler, method, most)
        crowd = self._gate.streams if handler.response_streaming else self._gate.calls
        tracing = OFF if needed(method) is Scope.READ else self._tracing
        return _guarded(handler, crowd.one, method, most, tracing)


def _refusing(error: Exception, method: str) -> Any:
    """A handler that refuses the call and reads no message of the caller."""

    async def refused(requests: Any, context: Any) -> None:
        await _abort(context, error, method)

    return grpc.stream_unary_rpc_method_handler(refused)


def _guarded(
    handler: Any, place: Callable[[], AbstractContextManager[None]], method: str, most: Most, tracing: Tracing
) -> Any:
    """The same handler, counted among the open calls of its key, with errors mapped.

    The request is read here. The library would wait for it without a limit, and before the call is counted.
    """
    read = reader(handler.request_deserializer, most)
    stream = handler.unary_stream
    if stream is not None:

        async def streamed(requests: Any, context: Any) -> AsyncIterator[Any]:
            try:
                with place():
                    async for reply in stream(await _only(requests, read), context):
                        yield reply
            except Exception as error:
                await _abort(context, error, method)

        return grpc.stream_stream_rpc_method_handler(streamed, response_serializer=handler.response_serializer)
    single = handler.unary_unary

    async def answered(requests: Any, context: Any) -> Any:
        try:
            with place(), _call_span(tracing, method, context):
                return await single(await _only(requests, read), context)
        except Exception as error:
            await _abort(context, error, method)

    return grpc.stream_unary_rpc_method_handler(answered, response_serializer=handler.response_serializer)


def _call_span(tracing: Tracing, method: str, context: Any) -> AbstractContextManager[Any]:
    """A span that continues the caller's trace; an error of the call is named by its class."""
    if not tracing.on:
        return NO_SPAN
    parent = context_in(dict(context.invocation_metadata() or ()))
    return tracing.span(method.lstrip("/"), "server", parent=parent, rpc__system="grpc", rpc__method=method.lstrip("/"))


async def _only(requests: AsyncIterator[bytes], read: Callable[[bytes], Any]) -> Any:
    """The only message of the call. Raises `Problem` if it is missing, late, too large or not readable."""
    try:
        async with asyncio.timeout(MESSAGE_S):
            content = await anext(requests.__aiter__(), None)
    except TimeoutError:
        text = f"the request was not there within {MESSAGE_S:g} s"
        raise Problem(Kind.TOO_SLOW, text, next_step="Send it again, faster.") from None
    if content is None:
        raise invalid("the call has no request")
    return readable(read(content))


def _of_runners(handler: Any, method: str, most: Most) -> Any:
    """The same handler with errors mapped. Calls of runners have no limit: an execution's end depends on them."""
    codec = _codec(handler, most)
    read = readable_each if handler.request_streaming else readable
    if handler.response_streaming:
        stream = handler.stream_stream or handler.unary_stream

        async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
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
            return await single(read(request), context)
        except Exception as error:
            await _abort(context, error, method)

    make_one = (
        grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    )
    return make_one(answered, **codec)


def _open(handler: Any, method: str, most: Most) -> Any:
    """The same handler, without a key. Health and reflection handle their own errors, except unreadable requests."""
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
        return make_one(answered, **_codec(handler, most))
    stream = handler.stream_stream or handler.unary_stream

    async def streamed(request: Any, context: Any) -> None:
        try:
            replies = stream(read(request), context)
            if isawaitable(replies):  # the handler writes the replies itself
                await replies
                return
            async for reply in replies:
                await context.write(reply)
        except Problem as problem:
            await _abort(context, problem, method)

    make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
    return make(streamed, **_codec(handler, most))


def _codec(handler: Any, most: Most) -> dict[str, Any]:
    read = handler.request_deserializer
    return {
        "request_deserializer": reader(read, most) if read else None,
        "response_serializer": handler.response_serializer,
    }


async def _abort(context: Any, error: Exception, method: str) -> NoReturn:
    if isinstance(error, (grpc.aio.AbortError, asyncio.CancelledError)):
        raise error
    if context.done() or isinstance(error, grpc.aio.InternalError):  # the caller has gone
        raise asyncio.CancelledError from error
    problem = of_exception(error)
    if problem is None:
        log.error("call.failed", method=method, exc_info=error)
        problem = internal()
    elif error.__cause__ is not None:
        log.debug("call.refused", method=method, code=problem.code, cause=repr(error.__cause__))
    code = getattr(grpc.StatusCode, problem.kind.grpc_code)
    trailing = [("error-code", problem.code)]
    if problem.retry_after_s:
        trailing.append(("retry-after", str(problem.retry_after_s)))
    try:
        await context.abort(code, problem.text[:MAX_TEXT], trailing_metadata=tuple(trailing))
    except grpc.aio.InternalError as left:
        raise asyncio.CancelledError from left
    raise AssertionError("abort always raises")
