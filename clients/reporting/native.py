"""The server's Runner service, as the tasks call it: one channel per process and event loop.

    BackendError            a call was given up
      BackendUnavailable    the server did not answer in time; the same call may be made again
      BackendRefused        this message can never pass: it is too large, or the server does not accept its content

Every call may be repeated with the same arguments and gives the same answer, so calls are made again when the server
does not answer (`agent_runner.clients.backend.channel.answered`). Requests and replies are the protocol's own messages.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import Message

from agent_runner.clients.backend.channel import MAY_PASS, Patience, Reply, answered, authorization, open_channel, words
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1.runner_pb2_grpc import RunnerStub

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings
    from agent_runner.v1.runner_pb2_grpc import RunnerAsyncStub

CALL_S = 10.0
"""One try of a call."""
STATUS_WRITE = Patience(call_s=30.0, total_s=None, tries=3, pause_s=2.0)
CLAIM = Patience(call_s=CALL_S, total_s=60.0, longer=2.0)
"""After that the message is left: the server sends another. The answer may have megabytes of pictures: on a slow link
each try gets more time than the one before."""
SKILL = Patience(call_s=30.0, total_s=60.0)
"""An archive of up to 32 MiB."""
_NEVER_PASSES = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE})
TOO_LARGE = "larger than max"
"""gRPC's words, on either side, under a status that also stands for limits of rate."""
BYTES_PER_S = 1 << 20
"""A large message gets this much more time."""

Method = Callable[..., Awaitable[Reply]]


class BackendError(Exception):
    """The server refused the call; the text holds its status and words."""


class BackendUnavailable(BackendError):
    """The server did not answer in time."""


class BackendRefused(BackendError):
    """The server will never accept this message."""


class Backend:
    """Make it on the loop that uses it, after any fork. `close` is idempotent."""

    def __init__(self, settings: "Settings") -> None:
        self._channel = open_channel(settings)
        self._stub: RunnerAsyncStub = RunnerStub(self._channel)
        self._metadata = authorization(settings)

    async def close(self) -> None:
        await self._channel.close()

    async def begin(self, request: pb.BeginRequest) -> pb.BeginReply:
        return await self._call(self._stub.begin, request, Patience(call_s=CALL_S, total_s=CALL_S))

    async def done(self, request: pb.DoneRequest) -> pb.DoneReply:
        return await self._call(self._stub.done, request, Patience(call_s=CALL_S, total_s=CALL_S))

    async def claim(self, request: pb.ClaimRequest) -> pb.ClaimReply:
        return await self._call(self._stub.claim, request, CLAIM)

    async def skill(self, artifact_key: str) -> bytes:
        """A skill's archive, by the key that the claim named."""
        request = pb.SkillRequest(artifact_key=artifact_key)
        return (await self._call(self._stub.skill, request, SKILL)).archive

    async def removed(self, request: pb.RemovedRequest) -> pb.RemovedReply:
        """Report that a removal which the server asked for is done."""
        return await self._call(self._stub.removed, request, Patience(call_s=CALL_S, total_s=CALL_S))

    async def take_query(self, request: pb.TakeQueryRequest) -> pb.TakeQueryReply:
        """Once: who asked waits a few seconds only."""
        return await self._call(self._stub.takeQuery, request, Patience(call_s=CALL_S, total_s=0.0))

    async def answer_query(self, request: pb.AnswerQueryRequest) -> pb.AnswerQueryReply:
        return await self._call(self._stub.answerQuery, request, Patience(call_s=_by_weight(request), total_s=0.0))

    async def append(self, request: pb.AppendRequest) -> pb.AppendReply:
        """Tries once: after a failure the flusher sends the same deltas again, and may add only later ones."""
        return await self._call(self._stub.append, request, Patience(call_s=_by_weight(request), total_s=0.0))

    async def settle(self, request: pb.SettleRequest, *, stop: Callable[[], bool]) -> pb.SettleReply:
        """Tries until the server answers or `stop()` says that nobody waits for the answer any more."""
        patience = Patience(call_s=_by_weight(request), total_s=None)
        return await self._call(self._stub.settle, request, patience, stop=stop)

    async def hand_back(self, request: pb.HandBackRequest) -> pb.HandBackReply:
        return await self._call(self._stub.handBack, request, STATUS_WRITE)

    async def fail(self, request: pb.FailRequest) -> pb.FailReply:
        return await self._call(self._stub.fail, request, STATUS_WRITE)

    async def _call(
        self,
        method: Method[Reply],
        request: Message,
        patience: Patience,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> Reply:
        return await answered(
            method, request, patience=patience, error_of=_error_of, metadata=self._metadata, stop=stop
        )


def _error_of(exc: grpc.aio.AioRpcError) -> BackendError:
    text = words(exc)
    if exc.code() in MAY_PASS:
        return BackendUnavailable(text)
    return BackendRefused(text) if exc.code() in _NEVER_PASSES or TOO_LARGE in text else BackendError(text)


def _by_weight(request: Message) -> float:
    """Seconds that one try of this request may take, by its size."""
    return CALL_S + request.ByteSize() / BYTES_PER_S
