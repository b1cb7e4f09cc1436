"""The operations on executions, for HTTP and gRPC alike.

Create is one pipeline: check, place (session -> instance -> agent), seal, store (the row is the outbox), publish. A row
exists before its message. A row that could not be published is withdrawn (E501), or kept if a worker got the message
all the same.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.access.allow_lists import check_allowed
from agent_runner.app.server.access.principal import actor, current
from agent_runner.app.server.budgets.budget_refusal import spent_problem
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.contract.ids import new_execution_id, slug_of
from agent_runner.app.server.executions.after_end import after_end, publish_due
from agent_runner.app.server.executions.drafts.draft import (
    Accepted,
    Draft,
    draft_of_contract,
    env_values,
    put_secrets,
    spoken,
)
from agent_runner.app.server.executions.drafts.draft_checks import DraftChecks
from agent_runner.app.server.executions.drafts.input_rows import input_rows
from agent_runner.app.server.executions.drafts.request_digest import digest_of
from agent_runner.app.server.executions.placement import Place, Placing, mark_of
from agent_runner.app.server.executions.redrives import where_to_begin
from agent_runner.app.server.executions.updates import amended
from agent_runner.app.server.executions.view import API_VERSION, CREATED_BY, REQUEST, execution_from_json, stored_spec
from agent_runner.app.server.listing.listing_service import Listing
from agent_runner.app.server.problems import (
    FiringTaken,
    Kind,
    Problem,
    broker_unavailable,
    failed_precondition,
    invalid,
    not_found,
)
from agent_runner.app.server.resources.sealing import REDACTED
from agent_runner.app.server.runners.needed_worker import no_worker
from agent_runner.app.server.webhooks.webhook_request import kept_webhook
from agent_runner.clients.broker.publisher import PublishError
from agent_runner.clients.tracing.tracing import TRACE
from agent_runner.status.phases import TERMINAL_PHASES, Step
from agent_runner.status.store.errors import NotDue, NoWorker, OrgBudgetSpent
from agent_runner.status.store.lists.queries import ExecutionQuery, Page
from agent_runner.status.store.records import CreateVerdict, Execution, NewExecution
from agent_runner.status.timeouts import Timeouts


class Executions:
    def __init__(self, ctx: ServerContext, placing: Placing) -> None:
        self._ctx = ctx
        self._placing = placing
        self._checks = DraftChecks(ctx)
        self.listing = Listing(ctx.store, placing)
        settings = ctx.settings
        silent_s = settings.timeouts.heartbeat_s if settings.require_worker else 0.0
        self._conditions: dict[str, Any] = {"queue_cap": settings.max_queued, "silent_s": silent_s}

    async def create(self, draft: Draft) -> Accepted:
        timeouts = await self._checks.timeouts_of(draft)
        asked = digest_of(draft) if draft.idempotency_key else ""
        place = await self._placing.place(draft)
        try:
            check_allowed(self._ctx.settings, place, draft.execution.spec.execution_config.model_name)
            accepted = await self._store(self._new(draft, place, timeouts, asked), place)
            if not await self._publish(accepted, firing=draft.fired is not None):
                accepted = replace(accepted, state=None)
        except Problem:  # refused: there is no row. Another error may leave a row, which needs its session
            await self._placing.undo(place)
            raise
        if accepted.known and accepted.execution.spec.get(REQUEST, asked) != asked:
            raise Problem(
                Kind.ALREADY_EXISTS,
                f"the idempotency key belongs to AgentExecution '{accepted.execution.id}', which was another request",
                next_step="Use a new key for a new request; send the same request to get the same execution.",
            )
        return accepted

    async def check(self, draft: Draft) -> None:
        """Raises what `create` would refuse now, and makes nothing."""
        await self._checks.timeouts_of(draft)
        place = await self._placing.foreseen(draft)
        check_allowed(self._ctx.settings, place, draft.execution.spec.execution_config.model_name)

    def check_fields(self, draft: Draft) -> None:
        """Raises what is wrong with it whatever there is in the store."""
        self._checks.check(draft)

    async def redrive(self, id: str, *, env: Mapping[str, str], begin: str = "", idempotency_key: str = "") -> Accepted:
        """A new execution with the same input, session, model and timeouts. The secrets were removed at the end of the
        old one, so `env` brings them again. `begin`: `failed_step`, `start`, or empty for the first that is possible.
        """
        old, first = await self.get(id), await self._said(id)
        if old.phase not in TERMINAL_PHASES:
            raise failed_precondition(
                f"AgentExecution '{id}' has not ended", next_step="Cancel it first, or wait for its end."
            )
        execution = execution_from_json({"api_version": API_VERSION, "kind": "AgentExecution", **old.spec})
        execution.metadata.org = old.org
        execution.spec.session_id = old.session_id
        execution.spec.message = first["content"]
        put_secrets(execution, env)
        if missing := sorted(n for n, v in execution.spec.runtime_env.items() if v.is_secret and v.value == REDACTED):
            raise failed_precondition(
                f"the secrets {', '.join(missing)} of AgentExecution '{id}' were removed when it ended",
                next_step='Send them again with the redrive: {"env": {"NAME": "value"}}, or --env NAME=VALUE.',
            )
        draft = Draft(
            execution=execution,
            graph=old.graph,
            input=first.get("metadata", {}).get("input"),
            answers=first.get("metadata", {}).get("answers") or {},
            spoken=spoken(first),
            asked=first.get("asked"),
            layout=first.get("layout") or (),
            attachments=await self._ctx.store.attachments(old.id),
            timeouts=old.timeouts,
            idempotency_key=idempotency_key,
            redriven_from=old.id,
            **asdict(await where_to_begin(self._ctx.store, old, begin)),
        )
        return await self.create(draft)

    async def cancel(self, id: str, *, roll_back: bool = False) -> Execution:
        """Requests the cancel; the end itself arrives on the stream. A second or a late request changes nothing.

        `roll_back`: at its end the execution is removed, with what it did to the session's memory."""
        by = current()
        who = f"the key '{by.name}'" if by.key_id else "the user"
        verb = self._ctx.store.roll_back if roll_back else self._ctx.store.request_cancel
        execution = await verb(_named(id), who)
        if execution is None:
            raise not_found("AgentExecution", id)
        self._cancel_told(execution)
        return execution

    def _cancel_told(self, execution: Execution) -> None:
        if execution.phase in TERMINAL_PHASES:
            after_end(self._ctx, execution)
        elif self._ctx.presence is not None:
            self._ctx.presence.push_cancel(execution)
        self._ctx.wakeups.notify(execution.id)

    async def delete(self, id: str) -> None:
        """Deletes an execution that has ended. Raises FAILED_PRECONDITION for another one."""
        execution = await self.get(id)
        if not await self._ctx.store.delete(id):
            raise failed_precondition(
                f"AgentExecution '{id}' has not ended ({execution.phase.wire_name})",
                next_step="Cancel it and delete it when it has ended.",
            )

    async def get(self, id: str) -> Execution:
        execution = await self._ctx.store.get(_named(id))
        if execution is None:
            raise not_found("AgentExecution", id)
        return execution

    async def list(self, query: ExecutionQuery) -> Page:
        """Newest first. Raises INVALID_ARGUMENT."""
        return await self.listing.entries(query)

    async def update(self, message: AgentExecution) -> Execution:
        """Replace name, labels, annotations and tags, also after the end. Never touches the status.

        Raises FAILED_PRECONDITION for a change of any other field, ABORTED when another update came in between.
        """
        draft = draft_of_contract(message)
        self._checks.check(draft)
        execution = await self.get(message.metadata.id)
        new = amended(execution, (await self._said(execution.id))["content"], draft)
        if new is None:
            return execution
        updated = await self._ctx.store.update_spec(
            execution.id, expect_version=execution.spec_version, name=new.name, spec=new.spec, by=actor()
        )
        if updated is None:
            raise not_found("AgentExecution", execution.id)
        return updated

    async def merge_status(self, id: str, partial: Mapping[str, Any]) -> Execution:
        """The contract's updateStatus. Raises when the execution has ended or its worker reports natively."""
        merged = await self._ctx.store.merge_status(_named(id), partial)
        if merged is None:
            raise not_found("AgentExecution", id)
        execution, promoted = merged
        self._ctx.wakeups.notify(id)
        if promoted:
            publish_due(self._ctx)
        return execution

    async def _said(self, id: str) -> dict[str, Any]:
        """The user's message: the first row of the log."""
        first = await self._ctx.store.read_log(id, 0, 1)
        return first[0].payload if first else {"content": ""}

    def _new(self, draft: Draft, place: Place, timeouts: Timeouts, asked: str) -> NewExecution:
        new_id = draft.id or new_execution_id()
        execution = draft.execution
        rows = input_rows(draft.input, draft.attachments, spoken=draft.spoken)
        name = execution.metadata.name or new_id
        settings = self._ctx.settings
        return NewExecution(
            id=new_id,
            org=place.org,
            session_id=place.session_id,
            agent_id=place.agent_id,
            name=name,
            slug=slug_of(execution.metadata.slug or name) or new_id,
            message=execution.spec.message,
            input=draft.input,
            answers=draft.answers,
            spoken=draft.spoken,
            asked=draft.asked,
            webhook=draft.kept_webhook or kept_webhook(self._ctx, draft.webhook),
            thread_id=draft.thread_id,
            multitask=draft.multitask,
            after_s=draft.after_s,
            layout=draft.layout,
            attachments=draft.attachments,
            said_with=rows.attachments,
            before=rows.before,
            after=rows.after,
            graph=place.graph,
            model_name=execution.spec.execution_config.model_name,
            spec=stored_spec(execution, place.graph)
            | {**draft.noted, CREATED_BY: actor()}
            | ({REQUEST: asked} if asked else {})
            | ({TRACE: trace} if (trace := self._ctx.tracing.carried()) else {}),
            sealed_env=self._ctx.sealing.seal_env(env_values(execution)),
            timeouts=timeouts,
            retry=place.retry,
            priority=place.priority,
            runner_queue=settings.runner_queue,
            orchestrator_queue=settings.orchestrator_queue,
            idempotency_key=draft.idempotency_key,
            redriven_from=draft.redriven_from,
            base_checkpoint_id=draft.base_checkpoint_id,
            resume_checkpoint_id=draft.resume_checkpoint_id,
            one_shot=place.made is not None and not draft.shares_session,
            fired=mark_of(draft, place),
            answer_digest=draft.answer_digest,
        )

    async def _store(self, new: NewExecution, place: Place) -> Accepted:
        try:
            created = await self._ctx.store.create(new, session=place.made, **self._conditions)
        except NotDue:
            raise FiringTaken from None
        except NoWorker:
            raise await no_worker(self._ctx.store, new.runner_queue) from None
        except OrgBudgetSpent as over:
            raise spent_problem(over.spent) from None
        if created.verdict is CreateVerdict.QUEUE_FULL:
            raise Problem(
                Kind.TOO_MANY,
                f"queue '{new.runner_queue}' holds as many waiting executions as it may",
                next_step="Try again later, or add workers.",
            )
        if created.verdict is CreateVerdict.SESSION_BUSY:
            raise failed_precondition(
                f"session '{new.session_id}' is busy", next_step="Wait for its execution to end, or cancel that one."
            )
        for one in created.superseded:
            self._cancel_told(one)
        if created.execution is None:
            raise Problem(Kind.ALREADY_EXISTS, f"AgentExecution '{new.id}' exists", next_step="Send it again.")
        known = created.verdict is CreateVerdict.KNOWN
        return Accepted(execution=created.execution, known=known, state=created.state)

    async def _publish(self, accepted: Accepted, *, firing: bool = False) -> bool:
        """Publishes the execution, unless it waits for its session or was published already. False: its row may have
        changed meanwhile.

        A second call with the same idempotency key publishes too: the first call may have died, or may be about to
        withdraw the row that both would return.
        """
        execution = accepted.execution
        if execution.ready_at:
            publish_due(self._ctx)
        if execution.step is not Step.ENSURE_THREAD or execution.dispatched_at is not None:
            return True
        cause = "the first call with this idempotency key could not publish it"
        try:
            if not accepted.known:
                await self._ctx.dispatcher.send(execution)
                return True
            await self._ctx.dispatcher.publish(execution.id)
        except PublishError as error:
            if firing:  # nobody could send it again: it stays, and the resender publishes it
                return True
            cause = str(error)
            await self._ctx.store.withdraw(execution.id)
        if await self._ctx.store.get(execution.id) is None:
            raise broker_unavailable(cause)
        return False


def _named(id: str) -> str:
    if not id:
        raise invalid("value is required: it is the id of the execution")
    return id
