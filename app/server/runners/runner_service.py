"""The runner service, for calls of workers. Each is one verb of the store, then wake-ups and the session's next one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.executions.after_end import follow_up, publish_due
from agent_runner.app.server.problems import failed_precondition
from agent_runner.app.server.resources.archives import Artifacts
from agent_runner.app.server.runners.claim_reply import claim_reply
from agent_runner.app.server.runners.failure_reports import Reports
from agent_runner.app.server.runners.presence import MAX_REASON_CHARS, VERDICTS, PresenceBoard
from agent_runner.app.server.runners.run_tokens import checked, digest_of
from agent_runner.app.server.runners.runner_requests import deltas_of, facts_of, outcome_of, run_deltas
from agent_runner.app.server.runners.served_queues import may_fail, must_serve_run
from agent_runner.app.server.runners.worker_keys import must_be_mine
from agent_runner.app.server.runners.worker_queries import answer_query, take_query
from agent_runner.status.log.plain import plain_text
from agent_runner.status.phases import TERMINAL_PHASES, Phase, Step
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc

TOO_OLD = "the claim has no run_token, and AGENT_RUNNER_WORKERS_WITHOUT_TOKEN is false"
TOO_OLD_NEXT = (
    "Replace the worker by one of this release; until then set AGENT_RUNNER_WORKERS_WITHOUT_TOKEN=true on the servers."
)


class RunnerService(runner_pb2_grpc.RunnerServicer):
    def __init__(self, ctx: ServerContext, presence: PresenceBoard) -> None:
        self._ctx = ctx
        self._presence = presence
        self._reports = Reports(ctx)

    async def begin(self, request: pb.BeginRequest, context: Any) -> pb.BeginReply:
        await must_serve_run(self._ctx.store, request.execution_id)
        key = current().key_id
        begun = await self._ctx.store.begin(
            request.execution_id, request.begin_id, request.incarnation, key=key, new_thread_id=request.new_thread_id
        )
        return pb.BeginReply(
            granted=begun.granted,
            refusal=begun.refusal,
            session_id=begun.execution.session_id if begun.execution else "",
            thread_id=begun.thread_id,
            done=begun.done,
        )

    async def done(self, request: pb.DoneRequest, context: Any) -> pb.DoneReply:
        return pb.DoneReply(
            accepted=await self._ctx.store.done(request.execution_id, request.begin_id, request.thread_id)
        )

    async def claim(self, request: pb.ClaimRequest, context: Any) -> pb.ClaimReply:
        await must_serve_run(self._ctx.store, request.execution_id)
        token = checked(request.run_token)
        if not token and not self._ctx.settings.workers_without_token:
            raise failed_precondition(TOO_OLD, next_step=TOO_OLD_NEXT)
        sandbox = plain_text(request.sandbox[:MAX_REASON_CHARS])
        claimed = await self._ctx.store.claim(
            request.execution_id, request.claim_id, request.incarnation, digest_of(token), sandbox, key=current().key_id
        )
        if not claimed.granted:
            return await self._refused(request.execution_id, claimed.refusal)
        if (execution := claimed.execution) is not None:
            self._presence.tokens.keep(execution.handle, execution.fence, digest_of(token))
            self._ctx.grown(execution.id, execution.last_seq)
            self._ctx.counted.runs.claimed(execution)
            if self._ctx.settings.turns.on:  # there is room for another one on the broker
                publish_due(self._ctx)
        return await claim_reply(self._ctx, claimed, takes_attachments=request.takes_attachments)

    async def _refused(self, execution_id: str, refusal: str) -> pb.ClaimReply:
        """The refusal, with the stored end if there is one: the worker then reports the same end to Celery again."""
        found = await self._ctx.store.state(execution_id)
        if found is None or found[0].phase not in TERMINAL_PHASES:
            return pb.ClaimReply(granted=False, refusal=refusal)
        execution, state = found
        return pb.ClaimReply(granted=False, refusal=refusal, phase=execution.phase.wire_name, error=state.error)

    async def append(self, request: pb.AppendRequest, context: Any) -> pb.AppendReply:
        said = [run_deltas(run) for run in request.runs]  # all are checked first
        tokens = self._presence.tokens
        fences = [await tokens.fence(run.handle, run.fence, run.run_token) for run in request.runs]
        said = [replace(one, fence=fence) for one, fence in zip(said, fences, strict=True)]
        answered = []
        for one, result in zip(said, await self._ctx.store.append_all(said) if said else [], strict=True):
            answered.append(pb.RunAppended(handle=one.handle, verdict=VERDICTS[result.verdict], next=result.next))
            if result.execution_id and one.deltas:
                self._ctx.grown(result.execution_id, result.last_seq)
                self._ctx.counted.runs.said(one.deltas)
                if result.snapshot_due:
                    self._ctx.soon(self._snapshot(result.execution_id))
        return pb.AppendReply(runs=answered)

    async def _snapshot(self, execution_id: str) -> None:
        await self._ctx.store.snapshot_if_due(execution_id)

    async def beat(self, request: pb.BeatRequest, context: Any) -> pb.BeatReply:
        await must_be_mine(self._ctx.store, request.incarnation)
        return await self._presence.beat(request)

    async def settle(self, request: pb.SettleRequest, context: Any) -> pb.SettleReply:
        outcome, deltas = outcome_of(request), deltas_of(request.deltas)
        fence = await self._presence.tokens.fence(request.handle, request.fence, request.run_token)
        settled = await self._ctx.store.settle(
            request.handle, fence, request.first, deltas, request.head_checkpoint_id, outcome
        )
        follow_up(self._ctx, settled)
        execution = settled.execution
        if settled.accepted and execution is not None:
            self._ctx.counted.runs.settled(execution, fence, request)
        failed = execution is not None and execution.phase in (Phase.FAILED, Phase.CANCELLED)
        state = await self._ctx.store.state(execution.id) if execution is not None and failed else None
        return pb.SettleReply(
            error=state[1].error if state else "",
            accepted=settled.accepted,
            phase=execution.phase if execution else 0,
            code=execution.error_code if execution else "",
            last_seq=execution.last_seq if execution else 0,
            next=settled.next,
            rolled_back=bool(execution and execution.rolled_back),
            retried=bool(settled.accepted and execution and execution.phase not in TERMINAL_PHASES),
        )

    async def handBack(self, request: pb.HandBackRequest, context: Any) -> pb.HandBackReply:  # noqa: N802
        fence = await self._presence.tokens.fence(request.handle, request.fence, request.run_token)
        settled = await self._ctx.store.hand_back(
            request.handle,
            fence,
            request.first,
            deltas_of(request.deltas),
            request.head_checkpoint_id,
            request.reason,
        )
        if settled.accepted and settled.execution and settled.execution.step is Step.EXECUTE:
            self._ctx.wakeups.notify(settled.execution.id)
            publish_due(self._ctx)
        return pb.HandBackReply(accepted=settled.accepted)

    async def fail(self, request: pb.FailRequest, context: Any) -> pb.FailReply:
        await may_fail(self._ctx.store, request.execution_id)
        settled = await self._reports.failure(
            request.execution_id,
            request.code,
            facts_of(request.facts_json),
            step=request.step,
            after_grace=request.after_grace,
            attempt=max(1, request.attempt),
        )
        execution = settled.execution if settled else await self._ctx.store.get(request.execution_id)
        return pb.FailReply(
            applied=settled is not None and settled.accepted,
            phase=execution.phase if execution else 0,
            code=execution.error_code if execution else "",
            last_seq=execution.last_seq if execution else 0,
        )

    async def skill(self, request: pb.SkillRequest, context: Any) -> pb.SkillReply:
        _, archive = await Artifacts(self._ctx.store).get(request.artifact_key)
        return pb.SkillReply(archive=archive)

    async def removed(self, request: pb.RemovedRequest, context: Any) -> pb.RemovedReply:
        await self._ctx.store.removed(
            sandbox_id=request.sandbox_id,
            thread_id=request.thread_id,
            head_checkpoint_id=request.head_checkpoint_id,
        )
        return pb.RemovedReply()

    async def takeQuery(self, request: pb.TakeQueryRequest, context: Any) -> pb.TakeQueryReply:  # noqa: N802
        return await take_query(self._ctx, request)

    async def answerQuery(self, request: pb.AnswerQueryRequest, context: Any) -> pb.AnswerQueryReply:  # noqa: N802
        return await answer_query(self._ctx, request)

    def presence(
        self, request_iterator: AsyncIterator[pb.PresenceRequest], context: Any
    ) -> AsyncIterator[pb.PresenceReply]:
        return self._presence.attend(request_iterator, context, self._ctx.gate.keys.confirm)
