"""The last report of a run: settle it, or hand it back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent_runner.clients.reporting.native import BackendError, BackendRefused, BackendUnavailable
from agent_runner.clients.reporting.port import is_native
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.status.usage.model_usage import Cost
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.tasks.run.outcome import HandBack, Outcome
from agent_runner.tasks.run.run import Run
from agent_runner.tasks.run.run_log import SEND_BYTES, left_out, shrunk
from agent_runner.tasks.run.stops import Stop
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)

TRIES_AFTER_GAP = 3


async def settle(process: "RunnerProcess", run: Run, outcome: Outcome) -> pb.SettleReply:
    """Send the last deltas and the end in one call. Tried until it succeeds or has no use. Raises ExecutionError."""
    # Deltas that do not fit into one message are sent before. Only a server that is away can delay this.
    await process.flusher.flushed(
        run.log, down_to_bytes=SEND_BYTES, patient=lambda: is_native(process.settings) and not process.leaving_now
    )
    await process.flusher.rested(run.log)
    last = _last_of(run)
    if run.stop_reason is Stop.FENCED_OUT:
        return pb.SettleReply()
    request = pb.SettleRequest(
        **last,
        phase=int(outcome.phase),
        code=outcome.code.value if outcome.code else "",
        facts_json=outcome.facts_json,
        waiting_for_input=outcome.waiting,
        progress=pb.Progress(**run.progress() | {"phase": outcome.phase.wire_name}),
        tokens=_tokens_of(run),
    )
    reply = pb.SettleReply()
    try:
        for _ in range(TRIES_AFTER_GAP):
            reply = await _settled(process, run, request)
            if reply.accepted or not request.first < reply.next <= request.first + len(request.deltas):
                return reply
            # An append whose answer was lost had been stored: go on from there.
            kept = request.deltas[reply.next - request.first :]
            request.first = reply.next
            del request.deltas[:]
            request.deltas.extend(kept)
    except BackendUnavailable as exc:
        raise ExecutionError.of(Code.WORKER_LOST, f"the end of the run could not be reported: {exc}") from None
    except BackendError as exc:
        raise ExecutionError.of(Code.WORKER_LOST, f"the end of the run was not accepted: {exc}") from None
    return reply


async def _settled(process: "RunnerProcess", run: Run, request: pb.SettleRequest) -> pb.SettleReply:
    """The end matters more than the last deltas: if they are refused, they are cut, then replaced by notes."""
    for less in (shrunk, left_out, None):
        try:
            return await process.backend.settle(
                request, stop=lambda: run.stop_reason is Stop.FENCED_OUT or process.leaving_now
            )
        except BackendRefused as exc:
            if less is None or not request.deltas:
                raise
            told = [less(delta, str(exc)) for delta in request.deltas]
            del request.deltas[:]
            request.deltas.extend(told)
    raise AssertionError("unreachable")


def _tokens_of(run: Run) -> list[pb.ModelTokens]:
    said = run.builder.used
    return [_model_tokens(model, used, said.costs.get(model)) for model, used in said.models.items()]


def _model_tokens(model: str, used: Mapping[str, int], cost: Cost | None) -> pb.ModelTokens:
    return pb.ModelTokens(
        model=model,
        input_tokens=used.get("input_tokens", 0),
        output_tokens=used.get("output_tokens", 0),
        cached_tokens=used.get("cached_tokens", 0),
        cost=cost.amount if cost else 0,
        currency=cost.currency if cost else "",
    )


def _last_of(run: Run) -> dict[str, Any]:
    """The fields of both last reports: the identity of the run, and the deltas that are not stored yet."""
    tail = run.log.take_tail()
    return {
        "handle": run.log.handle,
        "fence": run.log.fence,
        "run_token": run.log.token,
        "first": tail.first,
        "deltas": tail.deltas,
        "head_checkpoint_id": run.current.head_checkpoint_id,
    }


async def hand_back(process: "RunnerProcess", run: Run, end: HandBack) -> bool:
    """Give the run back at its step boundary. False: it must be settled (a cancel is pending), or another worker has
    it."""
    await process.flusher.flushed(run.log)
    await process.flusher.rested(run.log)
    last = _last_of(run)
    if run.stop_reason is Stop.FENCED_OUT:
        return False
    request = pb.HandBackRequest(**last, reason=end.reason)
    try:
        return (await process.backend.hand_back(request)).accepted
    except BackendError as exc:
        log.warning("run.hand_back_failed", execution_id=run.id, error=exc)
        return False
