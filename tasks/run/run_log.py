"""What one run has said and the server has not answered.

What has been sent is numbered and frozen: it is sent again unchanged until it is answered, so that nothing is stored
twice and nothing is lost (laws L3, L10). Only what the server refuses for good is replaced: it was not stored.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from agent_runner.status.event_logger import event_logger
from agent_runner.status.log.log import Delta, coalesce
from agent_runner.status.log.plain import Room, plain
from agent_runner.v1 import runner_pb2 as pb

log = event_logger(__name__)

WAIT_LEAST_S, WAIT_MOST_S = 0.05, 0.25
SHORT_TEXT_BYTES, LONG_TEXT_BYTES = 256, 1024
RUN_BYTES = 8 << 20
"""A run that has more than this unanswered starts no further model or tool call until half of it is."""
SEND_BYTES = 1 << 20
HEAD_WAIT_S = 0.02
"""A head that moved waits that long for something to go with: what finished after it is found beside it only."""
ROW_BYTES = 48 << 20
"""A row that is larger is cut, whatever it is: both sides take messages of 64 MiB."""
CUT_TEXT_BYTES, CUT_ROW_BYTES = 16 << 10, 256 << 10
CUT_WORDS = 500
STALLED_S = 0.5
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
        token: bytes = b"",
    ) -> None:
        self.handle, self.fence, self.token = handle, fence, token
        self._merged = merged
        self.on_verdict = on_verdict
        self.due_at = 0.0
        self.not_before = 0.0
        """A send that brought nothing forward is not repeated at once."""
        self.closed = False
        self.apart = False
        """A call of its own is in flight, or its next one must be: it holds up nobody."""
        self.refused = ""
        """Why the server will never take what was sent last."""
        self.stuck = False
        """Even a note in place of what was refused is refused."""
        self._wake = wake
        self._head, self._head_told = head, head()
        self._head_due_at = 0.0
        self._heads_sent: set[str] = set()
        self._first = next_delta
        self._sent: deque[pb.Delta] = deque()
        self._pending: list[Delta] = []
        self._sent_bytes = self._pending_bytes = self._cuts = 0
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
        if self.closed or self.not_before > now:
            return None
        if not self._sent:
            if self._pending and self.due_at <= now:
                self._freeze()
            elif not self._head_waits or self._head_due_at > now:
                return None
        head = self._head()
        self._heads_sent.add(head)
        return pb.RunDeltas(
            handle=self.handle,
            fence=self.fence,
            first=self._first,
            deltas=list(self._sent)[:1] if self.refused else self._sent,
            head_checkpoint_id=head if head != self._head_told else "",
            run_token=self.token,
        )

    def head_moved(self) -> None:
        """The run's memory has grown, and that is durable."""
        self._head_due_at = time.monotonic() + HEAD_WAIT_S
        self._wake()

    def heads_told(self) -> Collection[str]:
        """One of these is what the server would hand out if this worker died now."""
        return {self._head_told, *self._heads_sent}

    @property
    def _head_waits(self) -> bool:
        # Other servers than ours know no heads: nothing is told for them alone.
        return self._merged and self._head() != self._head_told

    @property
    def next_due_at(self) -> float | None:
        """When there is something to send (monotonic); None while there is nothing, or it is being sent apart."""
        if self.closed or self.apart:
            return None
        times = [self.due_at] if not self.empty else []
        if self._head_waits:
            times.append(self._head_due_at)
        return max(min(times), self.not_before) if times else None

    def answered(self, sent: pb.RunDeltas, next_number: int) -> None:
        """The server has everything below `next_number`."""
        if sent.head_checkpoint_id and next_number >= sent.first + len(sent.deltas):
            self._head_told = sent.head_checkpoint_id
            self._heads_sent.clear()
        if sent.deltas and not self._first < next_number:
            self.not_before = time.monotonic() + STALLED_S
        while self._sent and self._first < next_number:
            self._sent.popleft()
            self._first += 1
            self._cuts = 0
        if not self._sent:
            self.refused = ""
        self._sent_bytes = sum(wire_size(d) for d in self._sent) if self._sent else 0
        if self.full and self.unanswered_bytes <= RUN_BYTES // 2:
            self._room.set()

    def refuse(self, words: str) -> bool:
        """The server will never take what was sent: from now on delta by delta, and the one that is refused alone is
        cut, then left out, with a note. False: even that is refused."""
        alone = bool(self.refused) or len(self._sent) == 1
        self.refused = words
        if not alone or not self._sent:
            return bool(self._sent)
        self._cuts += 1
        if self._cuts > 2:
            return False
        self._sent[0] = shrunk(self._sent[0], words) if self._cuts == 1 else left_out(self._sent[0], words)
        self._sent_bytes = sum(wire_size(d) for d in self._sent)
        return True

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
            if len(frozen.payload) > ROW_BYTES:
                frozen = shrunk(frozen, f"a row may have {ROW_BYTES} bytes")
            size += wire_size(frozen)
            self._sent.append(frozen)
        self._sent_bytes += size
        if all(delta.kind == "text" for delta in told):
            self._adapt(size)

    def _adapt(self, size: int) -> None:
        if size < SHORT_TEXT_BYTES:
            self._wait_s = min(self._wait_s * 1.5, WAIT_MOST_S)
        elif size > LONG_TEXT_BYTES:
            self._wait_s = max(self._wait_s / 1.5, WAIT_LEAST_S)


def _json(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _size(delta: Delta) -> int:
    """About what it holds in memory and takes on the wire; text, the usual case, is measured exactly."""
    if delta.kind == "text":
        return len(delta.payload["text"]) + _OVERHEAD_BYTES
    return len(_json(delta.payload)) + _OVERHEAD_BYTES


def wire_size(delta: pb.Delta) -> int:
    return len(delta.payload) + _OVERHEAD_BYTES


def shrunk(delta: pb.Delta, why: str) -> pb.Delta:
    """The same thing with its texts cut: whose it is and how it ended stays."""
    said = json.loads(delta.payload)
    log.warning("row.cut", kind=delta.kind, bytes=len(delta.payload), why=why)
    told = plain(said, max_bytes=CUT_TEXT_BYTES, room=Room(CUT_ROW_BYTES))
    return pb.Delta(kind=delta.kind, payload=_json(told))


def left_out(delta: pb.Delta, why: str) -> pb.Delta:
    """A note in its place."""
    note = f"a row ({delta.kind}) of {len(delta.payload)} bytes was refused and is left out: {why[:CUT_WORDS]}"
    log.warning("row.left_out", kind=delta.kind, bytes=len(delta.payload), why=why[:CUT_WORDS])
    return pb.Delta(kind="note", payload=_json({"text": note}))
