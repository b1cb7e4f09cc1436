"""A Runner service in this process, on a real gRPC server, that keeps deltas by the protocol's rules and can fail.

It stands where the network and the server's death are to be controlled; what the real server says is tested with it.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc

from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc

HANDLE, FENCE = 7, 3


class RunnerServer(runner_pb2_grpc.RunnerServicer):
    """`drop_answers`: how many calls are carried out and then answered with UNAVAILABLE."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.claim_reply = pb.ClaimReply(granted=True, handle=HANDLE, fence=FENCE, heartbeat_s=30, start_to_close_s=60)
        self.stored: list[tuple[str, dict[str, Any]]] = []
        self.heads: list[str] = []
        self.appends: list[pb.AppendRequest] = []
        self.settled: list[pb.SettleRequest] = []
        self.handed_back: list[pb.HandBackRequest] = []
        self.failed: list[pb.FailRequest] = []
        self.beats: list[pb.BeatRequest] = []
        self.hellos: list[pb.Hello] = []
        self.archives: dict[str, bytes] = {}
        """Skills' archives by their key."""
        self.fetched: list[str] = []
        self.gone: list[pb.RemovedRequest] = []
        """What a worker says that it has removed."""
        self.goodbyes = 0
        self.drop_answers = 0
        self.may_answer = asyncio.Event()
        """Appends are stored at once and answered when it is set."""
        self.may_answer.set()
        self.verdict: int = pb.GO_ON
        self.answer_beats = True
        self._outboxes: list[asyncio.Queue[pb.PresenceReply]] = []

    async def start(self) -> "RunnerServer":
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", 64 << 20)])
        runner_pb2_grpc.add_RunnerServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def stop(self) -> None:
        await self._server.stop(None)

    def push(self, verdict: int) -> None:
        told = pb.RunVerdict(handle=HANDLE, fence=FENCE, verdict=verdict)  # type: ignore[arg-type]
        for outbox in self._outboxes:
            outbox.put_nowait(pb.PresenceReply(beat=pb.BeatReply(runs=[told])))

    def text(self) -> str:
        return "".join(payload["text"] for kind, payload in self.stored if kind == "text")

    async def _maybe_drop(self, context: Any) -> None:
        if self.drop_answers:
            self.drop_answers -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer is lost")

    def _store(self, first: int, deltas: Any) -> bool:
        """Applied iff it continues; what is there already is fine."""
        if first > len(self.stored) or first + len(deltas) < len(self.stored):
            return False
        if first < len(self.stored) and first + len(deltas) != len(self.stored):
            return False
        if first == len(self.stored):
            self.stored += [(d.kind, json.loads(d.payload)) for d in deltas]
        return True

    async def begin(self, request: pb.BeginRequest, context: Any) -> pb.BeginReply:
        await self._maybe_drop(context)
        return pb.BeginReply(granted=True, session_id="ses-1")

    async def done(self, request: pb.DoneRequest, context: Any) -> pb.DoneReply:
        return pb.DoneReply(accepted=True)

    async def claim(self, request: pb.ClaimRequest, context: Any) -> pb.ClaimReply:
        await self._maybe_drop(context)
        return self.claim_reply

    async def append(self, request: pb.AppendRequest, context: Any) -> pb.AppendReply:
        self.appends.append(request)
        reply = pb.AppendReply()
        for run in request.runs:
            if self.verdict != pb.FENCED_OUT:
                self._store(run.first, run.deltas)
                if run.head_checkpoint_id:
                    self.heads.append(run.head_checkpoint_id)
            reply.runs.add(handle=run.handle, verdict=self.verdict, next=len(self.stored))
        await self.may_answer.wait()
        await self._maybe_drop(context)
        return reply

    async def beat(self, request: pb.BeatRequest, context: Any) -> pb.BeatReply:
        raise NotImplementedError

    async def settle(self, request: pb.SettleRequest, context: Any) -> pb.SettleReply:
        self.settled.append(request)
        if request.fence != FENCE or self.verdict == pb.FENCED_OUT:
            return pb.SettleReply(accepted=False)
        if not self._store(request.first, request.deltas):
            return pb.SettleReply(accepted=False, next=len(self.stored))
        await self._maybe_drop(context)
        return pb.SettleReply(accepted=True, phase=request.phase, code=request.code, last_seq=len(self.stored))

    async def handBack(self, request: pb.HandBackRequest, context: Any) -> pb.HandBackReply:
        self.handed_back.append(request)
        return pb.HandBackReply(accepted=self._store(request.first, request.deltas))

    async def fail(self, request: pb.FailRequest, context: Any) -> pb.FailReply:
        self.failed.append(request)
        return pb.FailReply(applied=True, phase=4, code=request.code, last_seq=3)

    async def skill(self, request: pb.SkillRequest, context: Any) -> pb.SkillReply:
        self.fetched.append(request.artifact_key)
        await self._maybe_drop(context)
        if request.artifact_key not in self.archives:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"artifact '{request.artifact_key}' not found")
        return pb.SkillReply(archive=self.archives[request.artifact_key])

    async def takeQuery(self, request: pb.TakeQueryRequest, context: Any) -> pb.TakeQueryReply:
        return pb.TakeQueryReply(granted=False)

    async def answerQuery(self, request: pb.AnswerQueryRequest, context: Any) -> pb.AnswerQueryReply:
        return pb.AnswerQueryReply(accepted=False)

    async def removed(self, request: pb.RemovedRequest, context: Any) -> pb.RemovedReply:
        await self._maybe_drop(context)
        self.gone.append(request)
        return pb.RemovedReply()

    async def presence(
        self, request_iterator: AsyncIterator[pb.PresenceRequest], context: Any
    ) -> AsyncIterator[pb.PresenceReply]:
        outbox: asyncio.Queue[pb.PresenceReply] = asyncio.Queue()
        self._outboxes.append(outbox)
        withheld: list[pb.BeatRequest] = []

        async def read() -> None:
            async for request in request_iterator:
                what = request.WhichOneof("what")
                if what == "hello":
                    self.hellos.append(request.hello)
                    outbox.put_nowait(pb.PresenceReply(welcome=pb.Welcome(server_id="test", beat_every_s=5)))
                elif what == "beat":
                    self.beats.append(request.beat)
                    withheld.append(request.beat)
                    while self.answer_beats and withheld:
                        beat = withheld.pop(0)
                        runs = [pb.RunVerdict(handle=r.handle, fence=r.fence, verdict=pb.GO_ON) for r in beat.runs]
                        outbox.put_nowait(pb.PresenceReply(beat=pb.BeatReply(runs=runs)))
                else:
                    self.goodbyes += 1
                    return

        reader = asyncio.create_task(read())
        try:
            while not reader.done() or not outbox.empty():
                waiting = asyncio.create_task(outbox.get())
                await asyncio.wait({waiting, reader}, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    yield waiting.result()
                else:
                    waiting.cancel()
        finally:
            reader.cancel()
            self._outboxes.remove(outbox)
