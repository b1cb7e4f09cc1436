"""The server's Runner service, as the tasks call it: one channel per process and event loop.

    BackendError            a call was given up
      BackendUnavailable    nobody answered in time; the same call may be made again
      BackendRefused        this message can never pass: it is too large, or holds what the server does not take

Every call may be repeated with the same arguments and gives the same answer, so calls are retried here when the server
does not answer. Messages in and out are the protocol's own.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from agent_runner.clients.backend.channel import authorization, open_channel
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1.runner_pb2_grpc import RunnerStub

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings
    from agent_runner.v1.runner_pb2_grpc import RunnerAsyncStub

log = logging.getLogger(__name__)

CALL_S = 10.0
"""One try of a call."""
STATUS_WRITE_S, STATUS_WRITE_TRIES, STATUS_WRITE_PAUSE_S = 30.0, 3, 2.0
SKILL_S = 30.0
"""One try of fetching an archive of up to 32 MiB."""
CLAIM_TOTAL_S = 60.0
"""How long a claim is tried. After that the message is left: the server sends another."""
PAUSE_FIRST_S, PAUSE_MOST_S = 0.1, 2.0
_MAY_PASS = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED})

_NEVER_PASSES = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE})
TOO_LARGE = "larger than max"
"""gRPC's words, on either side, under a status that also stands for limits of rate."""
BYTES_PER_S = 1 << 20
"""A large message gets this much more time."""

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Method = Callable[..., Awaitable[Reply]]


class BackendError(Exception):
    """The server refused the call; the text holds its status and words."""


class BackendUnavailable(BackendError):
    """The server did not answer in time."""


class BackendRefused(BackendError):
    """The same message will never be taken."""


class Backend:
    """Make it on the loop that uses it, after any fork. `close` is idempotent."""

    def __init__(self, settings: "Settings") -> None:
        self._channel = open_channel(settings)
        self._stub: RunnerAsyncStub = RunnerStub(self._channel)
        self._metadata = authorization(settings)

    async def close(self) -> None:
        await self._channel.close()

    async def begin(self, request: pb.BeginRequest) -> pb.BeginReply:
        return await self._retried(self._stub.begin, request, total_s=CALL_S)

    async def done(self, request: pb.DoneRequest) -> pb.DoneReply:
        return await self._retried(self._stub.done, request, total_s=CALL_S)

    async def claim(self, request: pb.ClaimRequest) -> pb.ClaimReply:
        # The answer may have megabytes of pictures: on a slow link each try gets more time than the one before.
        return await self._retried(self._stub.claim, request, total_s=CLAIM_TOTAL_S, longer=2.0)

    async def skill(self, artifact_key: str) -> bytes:
        """A skill's archive, by the key that the claim named."""
        request = pb.SkillRequest(artifact_key=artifact_key)
        return (await self._retried(self._stub.skill, request, total_s=CLAIM_TOTAL_S, try_s=SKILL_S)).archive

    async def removed(self, request: pb.RemovedRequest) -> pb.RemovedReply:
        """What the server had asked to remove is gone."""
        return await self._retried(self._stub.removed, request, total_s=CALL_S)

    async def append(self, request: pb.AppendRequest) -> pb.AppendReply:
        """One try: the flusher sends the same again, and adds to it nothing but later deltas."""
        return await self._once(self._stub.append, request, timeout_s=CALL_S + request.ByteSize() / BYTES_PER_S)

    async def settle(self, request: pb.SettleRequest, *, stop: Callable[[], bool]) -> pb.SettleReply:
        """Tried until it is answered or `stop()` says that nobody wants the answer any more."""
        try_s = CALL_S + request.ByteSize() / BYTES_PER_S
        return await self._retried(self._stub.settle, request, total_s=None, try_s=try_s, stop=stop)

    async def hand_back(self, request: pb.HandBackRequest) -> pb.HandBackReply:
        return await self._tried(self._stub.handBack, request)

    async def fail(self, request: pb.FailRequest) -> pb.FailReply:
        return await self._tried(self._stub.fail, request)

    async def _once(self, method: Method[Reply], request: Message, *, timeout_s: float) -> Reply:
        try:
            return await method(request, timeout=timeout_s, metadata=self._metadata, wait_for_ready=True)
        except grpc.aio.AioRpcError as exc:
            text = f"{exc.code().name}: {exc.details()}"
            if exc.code() in _MAY_PASS:
                raise BackendUnavailable(text) from exc
            if exc.code() in _NEVER_PASSES or TOO_LARGE in text:
                raise BackendRefused(text) from exc
            raise BackendError(text) from exc

    async def _tried(self, method: Method[Reply], request: Message) -> Reply:
        for left in reversed(range(STATUS_WRITE_TRIES)):
            try:
                return await self._once(method, request, timeout_s=STATUS_WRITE_S)
            except BackendUnavailable as exc:
                if not left:
                    raise
                log.warning("%s: %s; %d more tries", type(request).__name__, exc, left)
                await asyncio.sleep(STATUS_WRITE_PAUSE_S)
        raise AssertionError("unreachable")

    async def _retried(
        self,
        method: Method[Reply],
        request: Message,
        *,
        total_s: float | None,
        try_s: float = CALL_S,
        longer: float = 1.0,
        stop: Callable[[], bool] = lambda: False,
    ) -> Reply:
        end = None if total_s is None else time.monotonic() + total_s
        pause_s = PAUSE_FIRST_S
        while True:
            left_s = try_s if end is None else min(try_s, max(end - time.monotonic(), 0.001))
            try:
                return await self._once(method, request, timeout_s=left_s)
            except BackendUnavailable as exc:
                if stop() or (end is not None and time.monotonic() + pause_s >= end):
                    raise
                log.warning("%s is not answered, trying again: %s", type(request).__name__, exc)
            await asyncio.sleep(pause_s)
            pause_s, try_s = min(pause_s * 2, PAUSE_MOST_S), try_s * longer
