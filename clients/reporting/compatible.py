"""Reporting to any server that has the published contract and nothing of ours (AGENT_RUNNER_REPORTING=compatible).

The class has the same methods as `native.Backend`, and they are the whole port: it never calls the runner service, not
even as a fallback. The contract knows no claim, no fence, no heartbeat and no cancel, so promises that depend on them
do not hold; `NOT_HELD` lists these for the operator.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import grpc
from ulid import ULID

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ContractError, ContractUnavailable
from agent_runner.clients.contract.claim_bundle import bundle
from agent_runner.clients.contract.clients import ContractClients
from agent_runner.clients.reporting.native import BackendError
from agent_runner.clients.reporting.whole_status import MAY_MEAN_OVER, WholeStatus, has_ended, phase_of
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code, describe
from agent_runner.status.phases import Phase
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

NOT_HELD = (
    "compatible: no heartbeats, no cancel, no fence. L1 to L5 hold only as far as the server sees to it and this worker"
    " lives; L7, L8 and L11 are not promised (docs/guides/compatible-reporting.md)"
)
FENCE = 1
CLAIM_TOTAL_S = 60.0
FIRST_UPDATE_S = 10.0
FINAL = Patience(call_s=30.0, total_s=None, waits=False)
FINAL_TRIES, FINAL_PAUSE_S = 5, 2.0
"""Tries of the last update that the server answers with an error which may pass, not counting no answer at all."""
FAIL = Patience(call_s=30.0, total_s=90.0)
_WILL_NOT_PASS = MAY_MEAN_OVER | {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
}
HeadOf = Callable[[str], Awaitable[str]]


async def no_head(thread_id: str) -> str:
    return ""


@dataclass(slots=True, kw_only=True)
class _Run:
    claim_id: str
    told: pb.ClaimReply
    whole: WholeStatus
    ended: bool = False


class CompatibleBackend:
    """`head_of` returns the last checkpoint of a thread, because the contract has no field for it."""

    def __init__(self, settings: "Settings", *, head_of: HeadOf = no_head) -> None:
        self._settings = settings
        self._head_of = head_of
        self._clients = ContractClients(settings)
        self._runs: dict[int, _Run] = {}
        self._handles = 0
        self._claiming: set[str] = set()
        log.warning("reporting.limited", endpoint=settings.backend_endpoint, limits=NOT_HELD)

    async def close(self) -> None:
        for run in self._runs.values():
            run.whole.over = True
        await self._clients.close()

    async def begin(self, request: pb.BeginRequest) -> pb.BeginReply:
        """Never granted, and asks no server: `claim` finds or makes the thread."""
        return pb.BeginReply(granted=False, refusal="in compatible reporting the claim gives the thread")

    async def done(self, request: pb.DoneRequest) -> pb.DoneReply:
        return pb.DoneReply(accepted=True)

    async def claim(self, request: pb.ClaimRequest) -> pb.ClaimReply:
        """Refused if the execution has begun or ended, as far as the server shows it. Raises BackendError.

        A server that does not answer is a plain BackendError, too: such a server sends no second message, so the caller
        must report the failure.
        """
        id = request.execution_id
        for run in self._runs.values():
            if run.whole.execution_id == id:
                same = run.claim_id == request.claim_id
                return run.told if same else pb.ClaimReply(refusal="another delivery of it runs in this worker")
        if id in self._claiming:
            return pb.ClaimReply(refusal="another delivery of it is being claimed by this worker")
        self._claiming.add(id)
        try:
            return await self._claim(id, request.claim_id)
        except ContractUnavailable as error:
            raise BackendError(str(error)) from error
        finally:
            self._claiming.discard(id)

    async def skill(self, artifact_key: str) -> bytes:
        """A skill's archive, by the key that the claim named."""
        return await self._clients.skills.get_artifact(artifact_key)

    async def removed(self, request: pb.RemovedRequest) -> pb.RemovedReply:
        """Does nothing: the contract has no call for removals. Our own server asks again for a while."""
        return pb.RemovedReply()

    async def take_query(self, request: pb.TakeQueryRequest) -> pb.TakeQueryReply:
        """Never granted: the contract has no call for questions about graphs."""
        return pb.TakeQueryReply(granted=False)

    async def answer_query(self, request: pb.AnswerQueryRequest) -> pb.AnswerQueryReply:
        return pb.AnswerQueryReply(accepted=False)

    async def append(self, request: pb.AppendRequest) -> pb.AppendReply:
        """Fold the deltas; updates that are due are sent in the background. The verdict is FENCED_OUT once an update
        has found that the execution has ended."""
        reply = pb.AppendReply()
        for sent in request.runs:
            run = self._runs.get(sent.handle)
            if run is not None and run.whole.over:
                del self._runs[sent.handle]
            if run is None or run.whole.over or sent.fence != FENCE:
                reply.runs.add(handle=sent.handle, verdict=pb.FENCED_OUT)
                continue
            run.whole.take(sent.first, sent.deltas)
            reply.runs.add(handle=sent.handle, verdict=pb.GO_ON, next=run.whole.next)
        return reply

    async def settle(self, request: pb.SettleRequest, *, stop: Callable[[], bool]) -> pb.SettleReply:
        """Send the whole status with its end. Tries until the server answers or `stop()` says to give up."""
        run = self._runs.get(request.handle)
        if run is None or request.fence != FENCE:
            return pb.SettleReply(accepted=False)
        whole = run.whole
        if not run.ended and not whole.take(request.first, request.deltas):
            return pb.SettleReply(accepted=False, next=whole.next)
        await whole.quiet()
        code = Code.known(request.code)
        if not run.ended:
            facts = {"attempt": run.told.attempt} | (json.loads(request.facts_json) if request.facts_json else {})
            whole.end(Phase(request.phase), code, facts)
            run.ended = True
        try:
            accepted, phase = await self._last(whole, Phase(request.phase), stop)
        finally:
            self._runs.pop(request.handle, None)
        log.info(
            "run.updates",
            execution_id=whole.execution_id,
            events=whole.events,
            updates=whole.sent,
            failed=whole.failed,
            spent_s=round(whole.spent_s, 3),
        )
        ours = code.value if code and accepted else ""
        return pb.SettleReply(accepted=accepted, phase=phase, code=ours, last_seq=whole.rows)

    async def hand_back(self, request: pb.HandBackRequest) -> pb.HandBackReply:
        """Never accepted: no worker would go on with the run. The process does not ask its runs to hand back."""
        return pb.HandBackReply(accepted=False)

    async def fail(self, request: pb.FailRequest) -> pb.FailReply:
        """End the execution from outside, unless it has ended; its status so far stays. Raises BackendError."""
        execution = await self._clients.executions.get(request.execution_id, patience=FAIL)
        if request.after_grace and not has_ended(execution):
            await asyncio.sleep(self._settings.worker_lost_grace_s)
            execution = await self._clients.executions.get(request.execution_id, patience=FAIL)
        late = request.step == "ensure_thread" and phase_of(execution) is Phase.IN_PROGRESS
        if has_ended(execution) or late:
            return pb.FailReply(applied=False, phase=execution.status.phase)
        code = Code.known(request.code) or Code.SYSTEM
        facts = json.loads(request.facts_json) if request.facts_json else {}
        applied, stored = await self._end(execution, code, facts)
        return pb.FailReply(applied=applied, phase=stored, code=code.value if applied else "")

    async def _claim(self, id: str, claim_id: str) -> pb.ClaimReply:
        end = time.monotonic() + CLAIM_TOTAL_S
        patience = Patience(total_s=CLAIM_TOTAL_S)
        try:
            execution = await self._clients.executions.get(id, patience=patience)
        except ContractError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise
            return pb.ClaimReply(refusal="no such execution")
        if refusal := await self._refusal(execution):
            return pb.ClaimReply(refusal=refusal)
        patience = Patience(total_s=max(end - time.monotonic(), 1.0))
        told = await bundle(self._clients, self._settings, execution, patience)
        await self._give_thread(told)
        told.head_checkpoint_id = await self._head_of(told.thread_id)
        whole = WholeStatus(execution, self._clients.executions, every=self._settings.status_update_interval)
        whole.start()
        if refusal := await self._say_started(whole):
            return pb.ClaimReply(refusal=refusal)
        self._handles += 1
        told.handle, told.fence, told.attempt = self._handles, FENCE, 1
        self._runs[told.handle] = _Run(claim_id=claim_id, told=told, whole=whole)
        return told

    async def _refusal(self, execution: AgentExecution) -> str:
        """Why this run must not begin; empty if it may."""
        if has_ended(execution):
            return f"it has ended ({Phase(execution.status.phase).name})"
        if phase_of(execution) is not Phase.IN_PROGRESS:
            return ""
        if not self._must_be_dead(execution):
            return "another delivery of it has begun, and nobody can say whether it still runs"
        cause = "it was begun longer ago than a run may take, and never ended"
        await self._end(execution, Code.WORKER_LOST, {"cause": cause})
        return cause

    def _must_be_dead(self, execution: AgentExecution) -> bool:
        """Whether it began so long ago that a living worker would have ended it by its own time limit."""
        try:
            started_at = datetime.fromisoformat(execution.status.started_at).timestamp()
        except ValueError:
            return False
        return time.time() - started_at > self._settings.max_run_s + self._settings.settle_grace_s

    async def _give_thread(self, told: pb.ClaimReply) -> None:
        """Set `sandbox_id` and `thread_id`. A session without a thread gets one, which is stored; without a session the
        thread is for this execution only."""
        session_id = told.session.metadata.id
        told.sandbox_id = told.session.spec.sandbox_id or session_id
        told.thread_id = told.session.spec.thread_id
        if told.thread_id:
            return
        if not session_id:
            told.thread_id = f"ephemeral-{str(ULID()).lower()}"
            return
        told.thread_id = told.session.spec.thread_id = f"thread-{session_id}"
        try:
            await self._clients.sessions.update(told.session, patience=Patience(total_s=FIRST_UPDATE_S))
        except ContractError as error:
            # The thread's name is made of the session's id, so the next turn gets the same thread.
            log.warning("thread.not_stored", thread_id=told.thread_id, error=error)

    async def _say_started(self, whole: WholeStatus) -> str:
        """Report IN_PROGRESS, so that no other delivery begins the run. Returns the server's reason if this worker must
        not begin it, else an empty text."""
        try:
            await self._clients.executions.update_status(
                whole.execution_id, whole.status(), patience=Patience(total_s=FIRST_UPDATE_S)
            )
        except ContractError as error:
            if error.code in MAY_MEAN_OVER:
                return f"the server does not take its status: {error}"
            if error.code in _WILL_NOT_PASS:
                raise
            log.warning("run.begins_unconfirmed", execution_id=whole.execution_id, error=error)
        return ""

    async def _end(self, execution: AgentExecution, code: Code, facts: dict[str, object]) -> tuple[bool, int]:
        phase = describe(code, facts).phase
        whole = WholeStatus(execution, self._clients.executions, every=self._settings.status_update_interval)
        whole.end(phase, code, facts)
        until = time.monotonic() + (FAIL.total_s or 0.0)
        return await self._last(whole, phase, lambda: time.monotonic() > until)

    async def _last(self, whole: WholeStatus, phase: Phase, stop: Callable[[], bool]) -> tuple[bool, int]:
        """Send the last status. Returns whether the server stored it, and the stored phase. Raises ContractError."""
        executions, status = self._clients.executions, whole.status()
        for left in reversed(range(FINAL_TRIES)):
            try:
                await executions.update_status(whole.execution_id, status, patience=FINAL, stop=stop)
            except ContractUnavailable:
                raise
            except ContractError as error:
                if error.code in MAY_MEAN_OVER:
                    return await self._stored(whole, phase, error)
                if error.code in _WILL_NOT_PASS or not left:
                    raise
                if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and left == 1:
                    log.error("update.too_large", execution_id=whole.execution_id)
                    status = whole.short()
                log.warning("update.last_refused", execution_id=whole.execution_id, tries_left=left, error=error)
                await asyncio.sleep(FINAL_PAUSE_S)
            else:
                return True, int(phase)
        raise AssertionError("unreachable")

    async def _stored(self, whole: WholeStatus, phase: Phase, refused: ContractError) -> tuple[bool, int]:
        """Read the stored end after a refusal: it is our own if an earlier answer was lost, else another one."""
        try:
            execution = await self._clients.executions.get(whole.execution_id)
        except ContractError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise
            return False, 0
        if not has_ended(execution):
            raise refused
        return phase_of(execution) is phase, execution.status.phase


class NoPresence:
    """Takes the place of the presence thread: it sends no heartbeats, and `answered_at` is always now, so that the
    server never counts as silent."""

    def start(self) -> None:
        log.info("presence.off")

    def beat_within(self, seconds: float) -> None:
        pass

    def goodbye(self) -> None:
        pass

    @property
    def answered_at(self) -> float:
        return time.monotonic()
