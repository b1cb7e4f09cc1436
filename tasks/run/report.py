"""The last word about a run: settle it, or hand it back."""

import logging
from typing import TYPE_CHECKING

from agent_runner.v1 import runner_pb2 as pb

from clients.backend import BackendError, BackendUnavailable
from status.failures import Code
from tasks.failing import ExecutionError
from tasks.run.flusher import SEND_BYTES
from tasks.run.outcome import HandBack, Outcome, Stop
from tasks.run.run import Run

if TYPE_CHECKING:
    from tasks.process import RunnerProcess

log = logging.getLogger(__name__)

TRIES_AFTER_GAP = 3


async def settle(process: "RunnerProcess", run: Run, outcome: Outcome) -> pb.SettleReply:
    """The last deltas and the end in one call, tried until it lands or nobody wants it. Raises ExecutionError."""
    await process.flusher.flushed(run.log, down_to_bytes=SEND_BYTES)
    tail = run.log.take_tail()
    request = pb.SettleRequest(
        handle=run.log.handle,
        fence=run.log.fence,
        first=tail.first,
        deltas=tail.deltas,
        head_checkpoint_id=run.current.head_checkpoint_id,
        phase=int(outcome.phase),
        code=outcome.code.value if outcome.code else "",
        facts_json=outcome.facts_json,
    )
    reply = pb.SettleReply()
    try:
        for _ in range(TRIES_AFTER_GAP):
            reply = await process.backend.settle(
                request, stop=lambda: run.stop_reason is Stop.FENCED_OUT or process.leaving_now
            )
            if reply.accepted or not tail.first < reply.next <= tail.first + len(tail.deltas):
                return reply
            # An append whose answer was lost had been stored: go on from there.
            request.first = reply.next
            del request.deltas[:]
            request.deltas.extend(tail.deltas[reply.next - tail.first :])
    except BackendUnavailable as exc:
        raise ExecutionError.of(Code.WORKER_LOST, f"the end of the run could not be reported: {exc}") from None
    except BackendError as exc:
        raise ExecutionError.of(Code.WORKER_LOST, f"the end of the run was not accepted: {exc}") from None
    return reply


async def hand_back(process: "RunnerProcess", run: Run, end: HandBack) -> bool:
    """Give the run back at the step boundary it stands at. False: it must be settled (a cancel is pending)."""
    await process.flusher.flushed(run.log)
    tail = run.log.take_tail()
    request = pb.HandBackRequest(
        handle=run.log.handle,
        fence=run.log.fence,
        first=tail.first,
        deltas=tail.deltas,
        head_checkpoint_id=run.current.head_checkpoint_id,
        reason=end.reason,
    )
    try:
        return (await process.backend.hand_back(request)).accepted
    except BackendError as exc:
        log.warning("execution %s could not be handed back: %s", run.id, exc)
        return False
