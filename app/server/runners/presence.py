"""The presence streams of the workers that are connected to this server.

If a stream ends without a goodbye while the server runs and does not stop, the server records a disconnect. A server
that stops or dies records nothing: its workers reconnect to another server.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.problems import invalid
from agent_runner.app.server.runners.run_tokens import RunTokens
from agent_runner.app.server.runners.runner_requests import finite, progress_of
from agent_runner.app.server.runners.served_queues import must_serve
from agent_runner.status.event_logger import event_logger
from agent_runner.status.log.plain import plain_text
from agent_runner.status.phases import Step
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.run_records import RunBeat, RunnerVerdict
from agent_runner.status.store.store import Store
from agent_runner.v1 import runner_pb2 as pb

CONFIRM_EVERY_S = 1.0
MAX_REASON_CHARS = 500
log = event_logger(__name__)
VERDICTS = {
    RunnerVerdict.OK: pb.GO_ON,
    RunnerVerdict.GAP: pb.GO_ON,
    RunnerVerdict.CANCEL: pb.CANCEL,
    RunnerVerdict.FENCED_OUT: pb.FENCED_OUT,
}


class PresenceBoard:
    """One entry per connected worker process: the queue of messages to it."""

    def __init__(self, store: Store, *, server_id: str, worker_lost_grace_s: float, beat_every_s: float) -> None:
        self._store = store
        self._server_id = server_id
        self._grace_s = worker_lost_grace_s
        self._beat_every_s = beat_every_s
        self.tokens = RunTokens(store)
        self._streams: dict[str, asyncio.Queue[pb.PresenceReply]] = {}
        self.leaving = False

    async def attend(
        self, requests: AsyncIterator[pb.PresenceRequest], context: Any, confirm: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[pb.PresenceReply]:
        """One worker's stream, from its HELLO to its end. `confirm` raises when its key is no longer valid."""
        first = await anext(requests, None)
        if first is None or first.WhichOneof("what") != "hello":
            raise invalid("the first message must be hello")
        hello = first.hello
        must_serve(hello.queue)
        outbox: asyncio.Queue[pb.PresenceReply] = asyncio.Queue()
        await self._arrive(hello)
        self._streams[hello.incarnation] = outbox
        reader = asyncio.create_task(self._read(hello.incarnation, requests, outbox))
        polite = False
        try:
            yield pb.PresenceReply(welcome=pb.Welcome(server_id=self._server_id, beat_every_s=self._beat_every_s))
            while not reader.done() or not outbox.empty():
                waiting = asyncio.create_task(outbox.get())
                await asyncio.wait({waiting, reader}, timeout=CONFIRM_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    yield waiting.result()
                else:
                    waiting.cancel()
                await confirm()
            polite = reader.result()
        finally:
            reader.cancel()
            if self._streams.get(hello.incarnation) is outbox:
                del self._streams[hello.incarnation]
            if not polite and not self.leaving:
                # The handler may be cancelled here; the write must not be.
                lost = asyncio.get_running_loop().create_task(self._lost(hello.incarnation))
                await asyncio.shield(lost)

    async def _arrive(self, hello: pb.Hello) -> None:
        await self._store.hello(
            incarnation=hello.incarnation,
            queue=hello.queue,
            role=hello.role,
            hostname=hello.hostname,
            pid=hello.pid,
            slots=hello.slots,
            name=hello.name or hello.incarnation,
            version=hello.version,
            key_id=current().key_id,
            sandbox=plain_text(hello.sandbox[:MAX_REASON_CHARS]),
        )
        log.info("worker.arrived", role=hello.role, name=hello.name, queue=hello.queue, slots=hello.slots)

    async def _read(
        self, incarnation: str, requests: AsyncIterator[pb.PresenceRequest], outbox: asyncio.Queue[pb.PresenceReply]
    ) -> bool:
        """Answers heartbeats until the stream ends. True after a goodbye."""
        async for request in requests:
            what = request.WhichOneof("what")
            if what == "goodbye":
                await self._store.goodbye(incarnation)
                return True
            if what == "beat":
                if request.beat.incarnation != incarnation:
                    raise invalid("beat.incarnation: must be the one of the hello")
                outbox.put_nowait(pb.PresenceReply(beat=await self.beat(request.beat)))
        return False

    async def beat(self, request: pb.BeatRequest) -> pb.BeatReply:
        """The answer to a heartbeat of one process, with a verdict for each of its runs."""
        beats, strangers = [], []
        for r in request.runs:
            if await self.tokens.fence(r.handle, r.fence, r.run_token) == r.fence:
                progress = progress_of(r.progress) if r.HasField("progress") else {}
                beats.append(RunBeat(handle=r.handle, fence=r.fence, progress=progress))
            else:
                strangers.append(pb.RunVerdict(handle=r.handle, fence=r.fence, verdict=pb.FENCED_OUT))
        lag_s = finite(request.loop_lag_s, "loop_lag_s")
        answers = await self._store.beat(
            request.incarnation,
            beats,
            busy=request.busy,
            loop_lag_s=lag_s,
            hung_threads=request.hung_threads,
            slots=max(0, request.slots),
            not_taking=plain_text(request.not_taking[:MAX_REASON_CHARS]),
        )
        told = [pb.RunVerdict(handle=h, fence=f, verdict=VERDICTS[v]) for (h, f), v in answers.items()]
        return pb.BeatReply(runs=[*told, *strangers])

    async def _lost(self, incarnation: str) -> None:
        try:
            await self._store.disconnected(incarnation, self._grace_s)
            log.warning("worker.disconnected", incarnation=incarnation)
        except StoreUnavailable:
            log.warning("worker.lost_unrecorded", incarnation=incarnation)

    def push_cancel(self, execution: Any) -> None:
        """Send the cancel now to the worker that owns the run, if it is connected here."""
        outbox = self._streams.get(execution.owner)
        if outbox is not None and execution.step is Step.RUNNING:
            verdict = pb.RunVerdict(handle=execution.handle, fence=execution.fence, verdict=pb.CANCEL)
            outbox.put_nowait(pb.PresenceReply(beat=pb.BeatReply(runs=[verdict])))

    async def push_cancels(self) -> None:
        """Send cancels that were requested at another server to the workers that are connected here."""
        if self._streams:
            for execution in await self._store.cancels_of(list(self._streams)):
                self.push_cancel(execution)
