"""One flusher per process: what all runs say goes to the server in one message, one in flight.

The first token of a run and everything that is not text go at once; text waits 50 to 250 ms, the longer the less of it
there is (a token alone costs several times its size). What has been sent is numbered and frozen: it is sent again
unchanged until it is answered, so that nothing is stored twice and nothing is lost (laws L3, L10). In compatible
reporting nothing waits here and nothing is merged: the adapter counts events.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent_runner.v1 import runner_pb2 as pb

from clients.backend import BackendError
from clients.reporting import Reporting
from status.log import Delta, coalesce

log = logging.getLogger(__name__)

WAIT_LEAST_S, WAIT_MOST_S = 0.05, 0.25
SHORT_TEXT_BYTES, LONG_TEXT_BYTES = 256, 1024
RUN_BYTES = 8 << 20
"""A run that has more than this unanswered starts no further model or tool call until half of it is."""
SEND_BYTES = 1 << 20
HEAD_WAIT_S = 0.02
"""A head that moved waits that long for something to go with: what finished after it is found beside it only."""
PAUSE_FIRST_S, PAUSE_MOST_S = 0.1, 2.0
FLUSH_S = 30.0
_OVERHEAD_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What of a run is not known to be stored: deltas numbered from `first`."""

    first: int
    deltas: tuple[pb.Delta, ...]


class RunLog:
    """What one run has said and the server has not answered. Used on the event loop only."""

    def __init__(
        self,
        *,
        handle: int,
        fence: int,
        next_delta: int,
        wake: Callable[[], None],
        head: Callable[[], str],
        on_verdict: Callable[[int], None],
        merged: bool = True,
    ) -> None:
        self.handle, self.fence = handle, fence
        self._merged = merged
        self.on_verdict = on_verdict
        self.due_at = 0.0
        self.closed = False
        self._wake = wake
        self._head, self._head_told = head, head()
        self._head_due_at = 0.0
        self._first = next_delta
        self._sent: deque[pb.Delta] = deque()
        self._pending: list[Delta] = []
        self._sent_bytes = self._pending_bytes = 0
        self._wait_s = WAIT_LEAST_S
        self._spoke = False
        self._room = asyncio.Event()
        self._room.set()

    def add(self, deltas: Iterable[Delta]) -> None:
        """Take what the run says; never waits. `room` says when to wait."""
        now = time.monotonic()
        for delta in deltas:
            urgent = delta.kind != "text" or not self._spoke or not self._merged
            self._spoke = self._spoke or delta.kind == "text"
            if urgent:
                self.due_at = now
            elif not self._pending:
                self.due_at = now + self._wait_s
            self._pending.append(delta)
            self._pending_bytes += _size(delta)
        if self.unanswered_bytes > RUN_BYTES:
            self._room.clear()
        if self._pending:
            self._wake()

    @property
    def unanswered_bytes(self) -> int:
        return self._sent_bytes + self._pending_bytes

    @property
    def empty(self) -> bool:
        return not self._sent and not self._pending

    @property
    def full(self) -> bool:
        return not self._room.is_set()

    async def room(self) -> None:
        """Returns when enough of what was said has been stored."""
        await self._room.wait()

    def next_send(self, now: float) -> pb.RunDeltas | None:
        """What to send now, or None: the frozen deltas again, else the pending ones when they are due."""
        if self.closed:
            return None
        if not self._sent:
            if self._pending and self.due_at <= now:
                self._freeze()
            elif not self._head_waits or self._head_due_at > now:
                return None
        head = self._head()
        return pb.RunDeltas(
            handle=self.handle,
            fence=self.fence,
            first=self._first,
            deltas=self._sent,
            head_checkpoint_id=head if head != self._head_told else "",
        )

    def head_moved(self) -> None:
        """The run's memory has grown, and that is durable."""
        self._head_due_at = time.monotonic() + HEAD_WAIT_S
        self._wake()

    @property
    def _head_waits(self) -> bool:
        # Other servers than ours know no heads: nothing is told for them alone.
        return self._merged and self._head() != self._head_told

    @property
    def next_due_at(self) -> float | None:
        """When there is something to send (monotonic); None while there is nothing."""
        times = [self.due_at] if not self.empty else []
        if self._head_waits:
            times.append(self._head_due_at)
        return min(times, default=None)

    def answered(self, sent: pb.RunDeltas, next_number: int) -> None:
        """The server has everything below `next_number`."""
        if sent.head_checkpoint_id and next_number >= sent.first + len(sent.deltas):
            self._head_told = sent.head_checkpoint_id
        while self._sent and self._first < next_number:
            self._sent.popleft()
            self._first += 1
        self._sent_bytes = sum(_wire_size(d) for d in self._sent) if self._sent else 0
        if self.full and self.unanswered_bytes <= RUN_BYTES // 2:
            self._room.set()

    def take_tail(self) -> Tail:
        """Everything that is not known to be stored, for the call that ends the run; from now on nothing is sent."""
        self.closed = True
        while self._pending:
            self._freeze()
        self._room.set()
        return Tail(first=self._first, deltas=tuple(self._sent))

    def _freeze(self) -> None:
        """Give the pending deltas their place, at most SEND_BYTES of them; text that came together becomes one."""
        told = coalesce(self._pending) if self._merged else self._pending
        self._pending, self._pending_bytes = [], 0
        size = 0
        for index, delta in enumerate(told):
            if size > SEND_BYTES:
                self._pending = told[index:]
                self._pending_bytes = sum(_size(d) for d in self._pending)
                break
            frozen = pb.Delta(kind=delta.kind, payload=_json(delta.payload))
            size += _wire_size(frozen)
            self._sent.append(frozen)
        self._sent_bytes += size
        if all(delta.kind == "text" for delta in told):
            self._adapt(size)

    def _adapt(self, size: int) -> None:
        if size < SHORT_TEXT_BYTES:
            self._wait_s = min(self._wait_s * 1.5, WAIT_MOST_S)
        elif size > LONG_TEXT_BYTES:
            self._wait_s = max(self._wait_s / 1.5, WAIT_LEAST_S)


class Flusher:
    """`start` and `stop` on the loop; `open` gives a run its log, `close` forgets it. `merged`: text waits a little."""

    def __init__(self, backend: Reporting, *, merged: bool = True) -> None:
        self._backend = backend
        self._merged = merged
        self._logs: dict[tuple[int, int], RunLog] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._progress = asyncio.Condition()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="flusher")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def open(self, claim: pb.ClaimReply, *, head: Callable[[], str], on_verdict: Callable[[int], None]) -> RunLog:
        run = RunLog(
            handle=claim.handle,
            fence=claim.fence,
            next_delta=claim.next_delta,
            wake=self._wake.set,
            head=head,
            on_verdict=on_verdict,
            merged=self._merged,
        )
        self._logs[run.handle, run.fence] = run
        return run

    def close(self, run: RunLog) -> None:
        run.closed = True
        self._logs.pop((run.handle, run.fence), None)

    async def flushed(self, run: RunLog, *, down_to_bytes: int = 0) -> None:
        """Returns when at most that much of the run is unanswered; or after FLUSH_S, then the last call has it all."""
        run.due_at = 0.0
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S), self._progress:
                await self._progress.wait_for(lambda: run.closed or run.unanswered_bytes <= down_to_bytes)

    async def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            await self._wait_until_due()
            try:
                if await self._send():
                    pause_s = PAUSE_FIRST_S
            except BackendError as exc:
                log.warning("%d runs keep what they say, trying again: %s", len(self._logs), exc)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MOST_S)
            except Exception:
                log.exception("flushing failed, trying again")
                await asyncio.sleep(pause_s)

    async def _wait_until_due(self) -> None:
        while True:
            self._wake.clear()
            due = [at for run in self._logs.values() if not run.closed and (at := run.next_due_at) is not None]
            left_s = min(due) - time.monotonic() if due else None
            if left_s is not None and left_s <= 0:
                # Neighbours that speak in the same round of the loop share the message.
                await asyncio.sleep(0)
                return
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _send(self) -> bool:
        now = time.monotonic()
        request, size = pb.AppendRequest(), 0
        for run in list(self._logs.values()):
            if size > 2 * SEND_BYTES:
                break
            if (deltas := run.next_send(now)) is not None:
                request.runs.append(deltas)
                size += sum(_wire_size(d) for d in deltas.deltas)
        if not request.runs:
            return False
        reply = await self._backend.append(request)
        sent = {run.handle: run for run in request.runs}
        for answer in reply.runs:
            deltas = sent.get(answer.handle)
            known = self._logs.get((deltas.handle, deltas.fence)) if deltas is not None else None
            if known is not None and deltas is not None:
                if answer.verdict != pb.FENCED_OUT:
                    known.answered(deltas, answer.next)
                known.on_verdict(answer.verdict)
        async with self._progress:
            self._progress.notify_all()
        return True


def _json(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _size(delta: Delta) -> int:
    """About what it holds in memory and takes on the wire; text, the usual case, is measured exactly."""
    if delta.kind == "text":
        return len(delta.payload["text"]) + _OVERHEAD_BYTES
    return len(_json(delta.payload)) + _OVERHEAD_BYTES


def _wire_size(delta: pb.Delta) -> int:
    return len(delta.payload) + _OVERHEAD_BYTES
