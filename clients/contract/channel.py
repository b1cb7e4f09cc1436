"""One channel to a server of the published contract, and how calls on it are made.

    ContractError             the server refused the call; `code` says how
      ContractUnavailable     the server did not answer in time; the same call may be made again
      UnresolvedReference     one of several references cannot be resolved; `reference` says which

Every call has a deadline. Calls that may be repeated without harm are tried again when the server does not answer.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.clients.backend.channel import (
    MAY_PASS,
    Metadata,
    Patience,
    Reply,
    answered,
    authorization,
    open_channel,
    words,
)
from agent_runner.clients.reporting.native import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

Found = TypeVar("Found")

READ = Patience()
"""Also for writes that may be repeated: the same again changes nothing."""
ONCE = Patience(total_s=0.0)
"""For what makes something new: the first try may have been carried out although nobody heard the answer."""
LARGE = Patience(call_s=30.0, total_s=60.0)
"""Archives of some megabytes."""


class ContractError(BackendError):
    """The text holds the status and the server's words."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class ContractUnavailable(ContractError, BackendUnavailable):
    """The server did not answer in time."""


class UnresolvedReference(ContractError):
    """One of several references cannot be resolved; the error of its lookup is the cause."""

    def __init__(self, reference: ApiResourceReference, error: ContractError) -> None:
        super().__init__(error.code, str(error))
        self.reference = reference


class ContractChannel:
    """Make it on the loop that uses it, after any fork. `close` is idempotent."""

    def __init__(self, settings: "Settings") -> None:
        self.grpc = open_channel(settings)
        self._metadata: Metadata = authorization(settings)

    async def close(self) -> None:
        await self.grpc.close()

    async def call(
        self,
        method: Callable[..., Awaitable[Reply]],
        request: Message,
        *,
        patience: Patience = READ,
        metadata: Metadata = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Reply:
        """Raises ContractError; ContractUnavailable when the patience is used up or `stop()` says so."""
        given = (*self._metadata, *metadata)
        return await answered(method, request, patience=patience, error_of=contract_error, metadata=given, stop=stop)

    async def stream(
        self, method: Callable[..., AsyncIterable[Reply]], request: Message, *, timeout_s: float | None = None
    ) -> AsyncIterator[Reply]:
        """The messages of a stream, which is opened once. Raises ContractError if it breaks.

        A server that allows fewer keep-alive pings than we send cuts a stream that is silent for long: open it again.
        """
        try:
            async for reply in method(request, timeout=timeout_s, metadata=self._metadata, wait_for_ready=True):
                yield reply
        except grpc.aio.AioRpcError as exc:
            raise contract_error(exc) from exc


def contract_error(exc: grpc.aio.AioRpcError) -> ContractError:
    kind = ContractUnavailable if exc.code() in MAY_PASS else ContractError
    return kind(exc.code(), words(exc))


def named(id: str, name: str) -> str:
    """The id. Raises ValueError if it is empty, because the server's error would say less."""
    if not id:
        raise ValueError(f"{name} cannot be empty")
    return id


async def resolved(
    get: Callable[[ApiResourceReference], Awaitable[Found]], references: Sequence[ApiResourceReference]
) -> list[Found]:
    """The resources that the references name, in their order, looked up together. Raises UnresolvedReference."""

    async def one(reference: ApiResourceReference) -> Found:
        try:
            return await get(reference)
        except ContractUnavailable:
            raise
        except ContractError as error:
            raise UnresolvedReference(reference, error) from error

    answers = await asyncio.gather(*map(one, references), return_exceptions=True)
    found: list[Found] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        found.append(answer)
    return found
