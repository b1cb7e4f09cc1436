"""The deltas of one run that the server has not answered yet.

Deltas that were sent are numbered and frozen: they are sent again unchanged until the server answers, so that nothing
is stored twice and nothing is lost (laws L3, L10). Only a delta that the server refuses for good is replaced: it was
not stored.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from agent_runner.status.event_logger import event_logger
from agent_runner.status.log.log import Delta, coalesce
from agent_runner.status.log.plain import Room, plain
from agent_runner.status.log.stream.stream_parts import STREAM, of_tokens
from agent_runner.v1 import runner_pb2 as pb

log = event_logger(__name__)

WAIT_LEAST_S, WAIT_MOST_S = 0.05, 0.25
GAP_S = 0.02
"""What is urgent comes this long after the run's last send: the rows of a step that takes a few milliseconds share a
message. Nobody sees the difference, and each message is a transaction."""
SHORT_TEXT_BYTES, LONG_TEXT_BYTES = 256, 1024
RUN_BYTES = 8 << 20
"""A run with more unanswered bytes than this starts no further model or tool call until only half of this is left."""
SEND_BYTES = 1 << 20
HEAD_WAIT_S = 0.02
"""A moved head waits this long for deltas to be sent with it. Results after it are found only beside this head."""
ROW_BYTES = 48 << 20
"""A larger row of any kind is cut: both sides accept messages of 64 MiB."""
CUT_TEXT_BYTES, CUT_ROW_BYTES = 16 << 10, 256 << 10
CUT_WORDS = 500
STALLED_S = 0.5
_OVERHEAD_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The deltas of a run that are not known to be stored, numbered from `first`."""

    first: int
    deltas: tuple[pb.Delta, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written(Delta):
    """A delta whose JSON has been made."""

    written: bytes


class RunLog:
    """The deltas of one run that the server has not answered yet. Used on the event loop only."""

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
        """After a send without progress, the next send is not before this time."""
        self.closed = False
        self.ending = False
        """The call that ends the run takes what is left: no further send begins."""
        self.in_flight = False
        """A send is under way, and its answer says what is stored."""
        self.apart = False
        """The run sends in calls of its own, so that it delays no other run."""
        self.refused = ""
        """Why the server refuses the last sent deltas for good."""
        self.stuck = False
        """The server refuses even the note that replaces a refused delta."""
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
        self._sent_at = 0.0
        self._room = asyncio.Event()
        self._room.set()

    def add(self, deltas: Iterable[Delta]) -> None:
        """Add deltas of the run. Never waits: the caller waits for `room`."""
        now = time.monotonic()
        for delta in deltas:
            due_at = self._due_at(delta, now)
            self.due_at = min(self.due_at, due_at) if self._pending else due_at
            held = _measured(delta)
            self._pending.append(held)
            self._pending_bytes += _size(held)
        if self.unanswered_bytes > RUN_BYTES:
            self._room.clear()
        if self._pending:
            self._wake()

    def _due_at(self, delta: Delta, now: float) -> float:
        """When a delta that comes now has to be sent."""
        waits = delta.kind == "text" or of_tokens(delta)
        first, self._spoke = waits and not self._spoke, self._spoke or waits
        if first or not self._merged:
            return now
        return now + self._wait_s if waits else max(now, self._sent_at + GAP_S)

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
        """Waits until enough of the run's deltas have been stored."""
        await self._room.wait()

    def next_send(self, now: float) -> pb.RunDeltas | None:
        """What to send now, or None: the frozen deltas again, else the pending ones when they are due."""
        if self.closed or self.ending or self.not_before > now:
            return None
        if not self._sent:
            if self._pending and self.due_at <= now:
                self._freeze()
            elif not self._head_waits or self._head_due_at > now:
                return None
        head, self._sent_at = self._head(), now
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
        """The run has a new head checkpoint in its memory, and it is durable."""
        self._head_due_at = time.monotonic() + HEAD_WAIT_S
        self._wake()

    def heads_told(self) -> Collection[str]:
        """The heads that the server may know. If this worker died now, the next attempt would begin at one of these."""
        return {self._head_told, *self._heads_sent}

    @property
    def _head_waits(self) -> bool:
        # Other servers than ours know no heads: a moved head alone is no reason to send.
        return self._merged and self._head() != self._head_told

    @property
    def next_due_at(self) -> float | None:
        """When there is something to send (monotonic); None while there is nothing, or it is being sent apart."""
        if self.closed or self.ending or self.apart:
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
        """The server refuses the sent deltas for good. From now on they are sent one by one. One that is refused alone
        is cut, then replaced by a note. False: even the note is refused."""
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
        """All deltas that are not known to be stored, for the call that ends the run. Nothing else is sent after it."""
        self.closed = True
        while self._pending:
            self._freeze()
        self._room.set()
        return Tail(first=self._first, deltas=tuple(self._sent))

    def _freeze(self) -> None:
        """Number and freeze pending deltas, about SEND_BYTES at most; text that came together becomes one delta."""
        told = coalesce(self._pending) if self._merged else self._pending
        self._pending, self._pending_bytes = [], 0
        size = 0
        for index, delta in enumerate(told):
            if size > SEND_BYTES:
                self._pending = told[index:]
                self._pending_bytes = sum(_size(d) for d in self._pending)
                break
            written = delta.written if isinstance(delta, _Written) else _json(delta.payload)
            frozen = pb.Delta(kind=delta.kind, payload=written)
            if len(frozen.payload) > ROW_BYTES:
                frozen = shrunk(frozen, f"a row may have {ROW_BYTES} bytes")
            size += wire_size(frozen)
            self._sent.append(frozen)
        self._sent_bytes += size
        if all(delta.kind == "text" or of_tokens(delta) for delta in told):
            self._adapt(size)

    def _adapt(self, size: int) -> None:
        if size < SHORT_TEXT_BYTES:
            self._wait_s = min(self._wait_s * 1.5, WAIT_MOST_S)
        elif size > LONG_TEXT_BYTES:
            self._wait_s = max(self._wait_s / 1.5, WAIT_LEAST_S)


def _json(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _measured(delta: Delta) -> Delta:
    """The delta with its size. Where that is not known without its JSON, this is kept: a result may be megabytes. Parts
    of a stream are joined before they are written."""
    if delta.kind == "text" or delta.weight:
        return delta
    written = _json(delta.payload)
    if delta.kind == STREAM:
        return replace(delta, weight=len(written))
    return _Written(kind=delta.kind, payload={}, weight=len(written), written=written)


def _size(delta: Delta) -> int:
    """About its size in memory and on the wire; text, the usual case, is measured exactly."""
    return (len(delta.payload["text"]) if delta.kind == "text" else delta.weight) + _OVERHEAD_BYTES


def wire_size(delta: pb.Delta) -> int:
    return len(delta.payload) + _OVERHEAD_BYTES


def shrunk(delta: pb.Delta, why: str) -> pb.Delta:
    """The same delta with its texts cut; its ids and its status stay."""
    said = json.loads(delta.payload)
    log.warning("row.cut", kind=delta.kind, bytes=len(delta.payload), why=why)
    told = plain(said, max_bytes=CUT_TEXT_BYTES, room=Room(CUT_ROW_BYTES))
    return pb.Delta(kind=delta.kind, payload=_json(told))


def left_out(delta: pb.Delta, why: str) -> pb.Delta:
    """A note that replaces the delta."""
    note = f"a row ({delta.kind}) of {len(delta.payload)} bytes was refused and is left out: {why[:CUT_WORDS]}"
    log.warning("row.left_out", kind=delta.kind, bytes=len(delta.payload), why=why[:CUT_WORDS])
    return pb.Delta(kind="note", payload=_json({"text": note}))
