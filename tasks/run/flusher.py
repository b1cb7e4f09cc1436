"""One flusher per process: the deltas of all runs go to the server in common messages, one in flight.

The first token of a run is sent at once, and so is everything that is not text, but not within 20 ms of the run's last
send. Other text waits 50 to 250 ms: the less text there is, the longer it waits (a single token costs several times its
size). Runs take turns. A run with large or refused deltas sends them in calls of its own, one in flight per run, so
that it delays no other run. In compatible reporting nothing waits here and nothing is merged, because the adapter
counts events.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from agent_runner.clients.backend.channel import PAUSE_FIRST_S, PAUSE_MOST_S
from agent_runner.clients.reporting.native import BackendError, BackendRefused
from agent_runner.clients.reporting.port import Reporting
from agent_runner.status.event_logger import event_logger
from agent_runner.tasks.run.run_log import SEND_BYTES, RunLog, wire_size
from agent_runner.v1 import runner_pb2 as pb

log = event_logger(__name__)

SHARED_BYTES = 2 * SEND_BYTES
"""The size of a common message of all runs. A run that has more than this to send uses a call of its own."""
FLUSH_S, LOOK_S = 30.0, 1.0
ANSWER_S = 2.0
"""How long the end of a run waits for the answer to the send that is under way. Without it the call that ends the run
says again what was stored, is told so, and is repeated."""


class Flusher:
    """`start` and `stop` on the loop. `open` creates a run's log, `close` removes it. `merged`: text waits a little."""

    def __init__(
        self, backend: Reporting, *, merged: bool = True, on_answer: Callable[[float, int], None] | None = None
    ) -> None:
        """`on_answer` is told the seconds and the bytes of each send that was answered."""
        self._backend = backend
        self._on_answer = on_answer
        self._merged = merged
        self._logs: dict[tuple[int, int], RunLog] = {}
        self._due: dict[RunLog, float] = {}
        """When each run has something to send (monotonic). A run that says something notes only itself here."""
        self._sleeps_until = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._apart: set[asyncio.Task[None]] = set()
        self._progress = asyncio.Condition()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="flusher")

    async def stop(self) -> None:
        if self._task is not None:
            for task in (going := {self._task, *self._apart}):
                task.cancel()
            await asyncio.wait(going)

    def open(
        self, claim: pb.ClaimReply, *, head: Callable[[], str], on_verdict: Callable[[int], None], token: bytes = b""
    ) -> RunLog:
        run: RunLog = RunLog(
            handle=claim.handle,
            fence=claim.fence,
            next_delta=claim.next_delta,
            token=token,
            wake=lambda: self._note(run),
            head=head,
            on_verdict=on_verdict,
            merged=self._merged,
        )
        self._logs[run.handle, run.fence] = run
        return run

    def close(self, run: RunLog) -> None:
        run.closed = True
        self._logs.pop((run.handle, run.fence), None)
        self._note(run)

    async def flushed(
        self, run: RunLog, *, down_to_bytes: int = 0, patient: Callable[[], bool] = lambda: False
    ) -> None:
        """Waits until at most `down_to_bytes` of the run are unanswered, or the server takes no more of it.

        After FLUSH_S it waits on only while `patient()` is true. The call that ends the run sends the rest.
        """
        run.due_at = 0.0
        self._note(run)
        until = time.monotonic() + FLUSH_S

        def over() -> bool:
            return run.closed or run.stuck or run.unanswered_bytes <= down_to_bytes

        while not over() and (time.monotonic() < until or patient()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S), self._progress:
                    await self._progress.wait_for(over)

    async def rested(self, run: RunLog) -> None:
        """No further send of the run begins. Waits for the answer to the one that is under way, ANSWER_S at most."""
        run.ending = True
        self._note(run)
        if run.in_flight:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S), self._progress:
                    await self._progress.wait_for(lambda: not run.in_flight)

    async def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            await self._wait_until_due()
            try:
                if await self._send():
                    pause_s = PAUSE_FIRST_S
            except BackendError as exc:
                log.warning("flush.delayed", runs=len(self._logs), error=exc)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MOST_S)
            except Exception:
                log.exception("flush.failed")
                await asyncio.sleep(pause_s)

    def _note(self, run: RunLog) -> None:
        """Call it when the run may be due at another time. Wakes the flusher if that is earlier than it wakes."""
        at = run.next_due_at
        if at is None:
            self._due.pop(run, None)
            return
        self._due[run] = at
        if at < self._sleeps_until:
            self._wake.set()

    async def _wait_until_due(self) -> None:
        while True:
            self._wake.clear()
            self._sleeps_until = min(self._due.values(), default=float("inf"))
            left_s = self._sleeps_until - time.monotonic() if self._due else None
            if left_s is not None and left_s <= 0:
                # Runs that add deltas in the same round of the loop share the message.
                await asyncio.sleep(0)
                return
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _send(self) -> bool:
        now = time.monotonic()
        due = {key: run for key, run in self._logs.items() if self._due.get(run, now + 1) <= now}
        try:
            return await self._send_due(due, now)
        finally:
            for run in due.values():
                self._note(run)

    async def _send_due(self, due: Mapping[tuple[int, int], RunLog], now: float) -> bool:
        request, size, sending = pb.AppendRequest(), 0, []
        for key, run in due.items():
            if size > SEND_BYTES:
                break
            if run.apart or (deltas := run.next_send(now)) is None:
                continue
            self._logs[key] = self._logs.pop(key)  # a run that sends becomes the last in turn
            weight = sum(wire_size(d) for d in deltas.deltas)
            if weight > SHARED_BYTES or run.refused:
                self._send_apart(run)
                continue
            request.runs.append(deltas)
            sending.append(run)
            size += weight
        if not request.runs:
            return False
        try:
            await self._say(request, sending)
        except BackendRefused as exc:
            # One run is the reason: each run sends in a call of its own, and only the refused one is cut.
            log.warning("flush.refused", runs=len(request.runs), error=exc)
            for deltas in request.runs:
                if alone := self._known(deltas):
                    self._send_apart(alone)
        return True

    def _send_apart(self, run: RunLog) -> None:
        run.apart = True
        task = asyncio.create_task(self._say_apart(run), name="flusher, one run apart")
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)

    async def _say_apart(self, run: RunLog) -> None:
        """Sends until the server has all deltas of this run that are due, or the run is closed."""
        pause_s = PAUSE_FIRST_S
        try:
            while (deltas := run.next_send(time.monotonic())) is not None:
                try:
                    await self._say(pb.AppendRequest(runs=[deltas]), [run])
                except BackendRefused as exc:
                    if run.refuse(str(exc)):
                        continue
                    run.stuck = True
                    log.error("flush.run_refused", handle=run.handle, fence=run.fence, error=exc)
                except BackendError as exc:
                    log.warning("flush.run_delayed", handle=run.handle, fence=run.fence, error=exc)
                else:
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MOST_S)
        except Exception:
            log.exception("flush.run_failed", handle=run.handle, fence=run.fence)
            run.not_before = time.monotonic() + PAUSE_MOST_S
        finally:
            run.apart = False
            self._note(run)

    async def _say(self, request: pb.AppendRequest, runs: Sequence[RunLog]) -> None:
        """One append of these runs, and what its answer says to each."""
        for run in runs:
            run.in_flight = True
        try:
            began = time.monotonic()
            reply = await self._backend.append(request)
            if self._on_answer is not None:
                self._on_answer(time.monotonic() - began, request.ByteSize())
            self._take(reply, request.runs)
        finally:
            for run in runs:
                run.in_flight = False
            async with self._progress:
                self._progress.notify_all()

    def _take(self, reply: pb.AppendReply, runs: Iterable[pb.RunDeltas]) -> None:
        sent = {run.handle: run for run in runs}
        for answer in reply.runs:
            deltas = sent.get(answer.handle)
            known = self._known(deltas) if deltas is not None else None
            if known is not None and deltas is not None:
                if answer.verdict == pb.FENCED_OUT:
                    known.closed = True  # the server takes no more of it
                else:
                    known.answered(deltas, answer.next)
                known.on_verdict(answer.verdict)

    def _known(self, deltas: pb.RunDeltas) -> RunLog | None:
        return self._logs.get((deltas.handle, deltas.fence))
