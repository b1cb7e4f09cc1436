"""One channel to a server of the published contract, and how calls on it are made.

    ContractError             the server refused the call; `code` says how
      ContractUnavailable     nobody answered in time; the same call may be made again
      UnresolvedReference     one reference of several; `reference` says which

Every call has a deadline. What may be repeated without harm is tried again when the server does not answer.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.clients.backend.channel import authorization, open_channel
from agent_runner.clients.reporting.native import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = logging.getLogger(__name__)

PAUSE_FIRST_S, PAUSE_MOST_S = 0.1, 2.0
MAY_PASS = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED})

Reply = TypeVar("Reply", bound=Message)
Found = TypeVar("Found")
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """`call_s` for one try, `total_s` for all of them with their pauses; None: until `stop` says so.

    `waits`: a try waits for a server that is not there yet; else it fails at once.
    """

    call_s: float = 10.0
    total_s: float | None = 30.0
    waits: bool = True


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
    """One of several references leads nowhere; the error of its lookup is the cause."""

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
        end = None if patience.total_s is None else time.monotonic() + patience.total_s
        pause_s = PAUSE_FIRST_S
        while True:
            left_s = patience.call_s
            if end is not None and patience.total_s:
                left_s = min(left_s, max(end - time.monotonic(), 0.001))
            try:
                return await method(
                    request, timeout=left_s, metadata=(*self._metadata, *metadata), wait_for_ready=patience.waits
                )
            except grpc.aio.AioRpcError as exc:
                error = contract_error(exc)
            if not isinstance(error, ContractUnavailable) or stop():
                raise error
            if end is not None and time.monotonic() + pause_s >= end:
                raise error
            log.warning("%s is not answered, trying again: %s", type(request).__name__, error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MOST_S)

    async def stream(
        self, method: Callable[..., AsyncIterable[Reply]], request: Message, *, timeout_s: float | None = None
    ) -> AsyncIterator[Reply]:
        """The messages of a stream, once. Raises ContractError where it breaks.

        A server that allows fewer keep-alive pings than we send cuts a stream that is silent for long: open it again.
        """
        try:
            async for reply in method(request, timeout=timeout_s, metadata=self._metadata, wait_for_ready=True):
                yield reply
        except grpc.aio.AioRpcError as exc:
            raise contract_error(exc) from exc


def contract_error(exc: grpc.aio.AioRpcError) -> ContractError:
    kind = ContractUnavailable if exc.code() in MAY_PASS else ContractError
    return kind(exc.code(), f"{exc.code().name}: {exc.details()}")


def named(id: str, name: str) -> str:
    """The id, which must be one: the server's answer to an empty one would say less."""
    if not id:
        raise ValueError(f"{name} cannot be empty")
    return id


async def resolved(
    get: Callable[[ApiResourceReference], Awaitable[Found]], references: Sequence[ApiResourceReference]
) -> list[Found]:
    """What the references name, in their order, all looked up at the same time. Raises UnresolvedReference."""

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
