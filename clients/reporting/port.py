"""The port between a worker and its server, and the choice between its two adapters.

The setting `reporting` decides, once per process. Nothing is negotiated: an UNIMPLEMENTED from a proxy must not turn
fences off.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from agent_runner.clients.backend.presence import PresenceThread, Pulse
from agent_runner.clients.reporting.compatible import CompatibleBackend, HeadOf, NoPresence
from agent_runner.clients.reporting.native import Backend
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from agent_runner.clients.settings.settings import Settings


class Reporting(Protocol):
    """Errors are `native.BackendError`. Every call may be repeated and gives the same answer."""

    async def close(self) -> None: ...
    async def begin(self, request: pb.BeginRequest) -> pb.BeginReply: ...
    async def done(self, request: pb.DoneRequest) -> pb.DoneReply: ...
    async def claim(self, request: pb.ClaimRequest) -> pb.ClaimReply: ...
    async def skill(self, artifact_key: str) -> bytes: ...
    async def removed(self, request: pb.RemovedRequest) -> pb.RemovedReply: ...
    async def take_query(self, request: pb.TakeQueryRequest) -> pb.TakeQueryReply: ...
    async def answer_query(self, request: pb.AnswerQueryRequest) -> pb.AnswerQueryReply: ...
    async def append(self, request: pb.AppendRequest) -> pb.AppendReply: ...
    async def settle(self, request: pb.SettleRequest, *, stop: Callable[[], bool]) -> pb.SettleReply: ...
    async def hand_back(self, request: pb.HandBackRequest) -> pb.HandBackReply: ...
    async def fail(self, request: pb.FailRequest) -> pb.FailReply: ...


class Presence(Protocol):
    """How a process reports that it is alive."""

    def start(self) -> None: ...
    def beat_within(self, seconds: float) -> None: ...
    def goodbye(self) -> None: ...
    @property
    def answered_at(self) -> float: ...


def is_native(settings: "Settings") -> bool:
    """Whether runs can be handed back, cancelled and fenced, and each delta is stored as it comes."""
    return settings.reporting == "native"


def open_reporting(settings: "Settings", head_of: HeadOf) -> Reporting:
    """Call it on the loop that uses the result, after any fork. `head_of`: the last checkpoint of a thread in this
    worker's memory."""
    return Backend(settings) if is_native(settings) else CompatibleBackend(settings, head_of=head_of)


def presence_of(
    settings: "Settings",
    hello: pb.Hello,
    *,
    pulse: Callable[[], Pulse],
    on_verdicts: Callable[[Sequence[pb.RunVerdict]], None],
) -> Presence:
    if is_native(settings):
        return PresenceThread(settings, hello, pulse=pulse, on_verdicts=on_verdicts)
    return NoPresence()


async def latest_head(saver: "BaseCheckpointSaver[str]", thread_id: str) -> str:
    """The last checkpoint of the thread's main conversation; empty if there is none."""
    kept = await saver.aget_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
    return str(kept.config["configurable"]["checkpoint_id"]) if kept else ""
