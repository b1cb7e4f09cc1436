"""Runs are executions: this makes, finds, cancels and removes them in the words of this API."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService
from agent_runner.app.server.agent_server.refusals import absent, unprocessable
from agent_runner.app.server.agent_server.runs.run_bodies import RunCreate
from agent_runner.app.server.agent_server.runs.run_drafts import RUN, draft_of_run
from agent_runner.app.server.agent_server.runs.run_view import CHOSEN_BY, has_ended, run_json, status_of
from agent_runner.app.server.agent_server.streams.run_end import RunEnd, run_end
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import execution_of, is_uuid, run_uuid, session_of, thread_uuid
from agent_runner.app.server.contract.ids import new_resource_id
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.drafts.draft import Draft
from agent_runner.app.server.log_feed.follow import Snapshot, until_ended
from agent_runner.app.server.problems import Kind, Problem, invalid
from agent_runner.clients.web.webhook_address import WebhookPolicy, WebhookRefused
from agent_runner.status.event_logger import event_logger
from agent_runner.status.phases import Phase
from agent_runner.status.store.lists.queries import ExecutionQuery, View
from agent_runner.status.store.records import Execution, ResourceKind
from agent_runner.status.store.registry.threads import Thread, ThreadStatus

log = event_logger(__name__)
Json = dict[str, Any]
LONGEST_S = 86_400.0
TEMPORARY_TTL = {"ttl": 1440.0, "strategy": "delete"}
"""The thread of a stateless run is deleted at its end; if no server sees the end, after a day."""
MESSAGE = "spec.message"
OPEN_PHASES = {
    "pending": (Phase.PENDING,),
    "running": (Phase.IN_PROGRESS,),
    "all": (Phase.PENDING, Phase.IN_PROGRESS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A run that was accepted. `temporary`: its thread goes with it."""

    execution: Execution
    asked: RunCreate
    temporary: bool
    content: Snapshot | None = None
    """As it was created; None if it has to be read."""

    @property
    def place(self) -> str:
        """The address of the run."""
        run = run_uuid(self.execution.id)
        return f"/runs/{run}" if self.temporary else f"/threads/{thread_uuid(self.execution.session_id)}/runs/{run}"

    def places(self, then: Literal["stream", "join"]) -> dict[str, str]:
        """The headers by which clients know the run before the answer, and where they go on after a lost connection."""
        return {"Content-Location": self.place, "Location": f"{self.place}/{then}"}


class RunService:
    def __init__(self, edges: Edges, threads: ThreadService, assistants: AssistantService) -> None:
        self._edges, self._threads, self._assistants = edges, threads, assistants
        self._ctx, self._executions, self._store = edges.ctx, edges.executions, edges.ctx.store

    async def create(
        self,
        thread_id: str | None,
        asked: RunCreate,
        *,
        keeps_stream: bool,
        id: str = "",
        protocol: bool = False,
        amended: Callable[[Draft], Draft] | None = None,
    ) -> Made:
        """Without a thread it gets one of its own. `id`: of its execution, as `Draft.id`. `protocol`: it was started by
        the thread protocol. `amended`: what a cron adds to its draft.

        Raises NOT_FOUND, UNPROCESSABLE, INVALID_ARGUMENT, and FAILED_PRECONDITION if the thread is busy and the run
        must not wait."""
        if asked.webhook and "webhooks" in self._ctx.settings.server_of_graphs.hidden:
            asked = asked.model_copy(update={"webhook": None})
        if asked.webhook:
            self._check_webhook(asked.webhook)
        assistant = await self._assistants.resolve(asked.assistant_id)
        target = await self._assistants.target(assistant)
        if thread_id is None and asked.command is not None and "resume" in asked.command.model_fields_set:
            raise invalid("command.resume: a stateless run has nothing to go on with", next_step="Name the thread.")
        temporary = thread_id is None and asked.on_completion != "keep"
        named = {"graph_id": assistant.graph, "assistant_id": assistant.id}
        thread = await self._thread(thread_id, asked, named, temporary=temporary)
        draft = draft_of_run(
            asked, assistant, target, thread, keeps_stream=keeps_stream, temporary=temporary, protocol=protocol
        )
        draft = replace(draft, id=id)
        try:
            accepted = await self._executions.create(amended(draft) if amended else draft)
        except Problem as problem:
            if thread_id is None:
                await self._remove_thread(thread.session_id)
            raise _in_their_words(problem, asked) from None
        if not temporary:
            await self._threads.used(thread, metadata=named)
        new = accepted.execution
        content = Snapshot(execution=new, state=accepted.state) if accepted.state else None
        made = Made(execution=new, asked=asked, temporary=temporary, content=content)
        if temporary:
            self._ctx.soon(self._tidy_up(accepted.execution))
        return made

    async def check(self, thread_id: str | None, asked: RunCreate) -> None:
        """Raises what `create` would refuse now, and makes no run and no thread."""
        await self._threads.prepare()
        if asked.webhook:
            self._check_webhook(asked.webhook)
        assistant = await self._assistants.resolve(asked.assistant_id)
        target = await self._assistants.target(assistant)
        thread = _thread_to_be(assistant.org) if thread_id is None else await self._threads.get(thread_id)
        draft = draft_of_run(asked, assistant, target, thread, keeps_stream=True, temporary=thread_id is None)
        if thread_id is None:
            draft.execution.spec.session_id = ""
        await self._executions.check(draft)

    def _check_webhook(self, url: str) -> None:
        settings = self._ctx.settings
        try:
            WebhookPolicy.of(settings.graphs, private=settings.webhook_private).check(url)
        except WebhookRefused as refused:
            raise unprocessable(f"webhook: {refused}") from None

    async def _thread(self, thread_id: str | None, asked: RunCreate, named: Json, *, temporary: bool) -> Thread:
        if thread_id is None:
            return await self._threads.create_for_run(
                metadata={} if temporary else named, ttl=TEMPORARY_TTL if temporary else None
            )
        if not is_uuid(thread_id):
            raise invalid(f"thread_id: {thread_id[:80]!r} is not a UUID")
        if asked.if_not_exists == "create":
            return await self._threads.create_for_run(thread_id, metadata={**(asked.metadata or {}), **named})
        return await self._threads.get(thread_id)

    async def get(self, thread_id: str, run_id: str) -> Execution:
        """Raises NOT_FOUND, also for a run that was rolled back."""
        found = await self._store.get(execution_of(run_id))
        if found is None or found.session_id != session_of(thread_id) or found.rolled_back:
            raise absent("Run", run_id)
        return found

    async def of_id(self, run_id: str) -> Execution:
        """As `get`, whatever its thread."""
        found = await self._store.get(execution_of(run_id))
        if found is None or found.rolled_back:
            raise absent("Run", run_id)
        return found

    async def found(self, execution_id: str) -> Execution | None:
        return await self._store.get(execution_id)

    @staticmethod
    def modes_of(execution: Execution) -> Sequence[str]:
        """The stream modes that the run was asked for."""
        return ((execution.spec.get(RUN) or {}).get("kwargs") or {}).get("stream_mode") or ["values"]

    async def shown(self, execution: Execution) -> Json:
        first = await self._store.read_log(execution.id, 0, 1)
        return run_json(execution, first[0].payload if first else {})

    async def of_thread(self, thread_id: str, *, limit: int, offset: int, status: str) -> list[Execution]:
        """Newest first; none for a status that is not known."""
        thread = await self._threads.get(thread_id)
        if status and status not in CHOSEN_BY:
            return []
        chosen = CHOSEN_BY[status] if status else {}
        return await self._store.runs_of_session(thread.session_id, limit=limit, offset=offset, **chosen)

    async def end(self, execution: Execution) -> RunEnd:
        """Waits for it."""
        await until_ended(self._ctx, execution.id, LONGEST_S)
        ended = await self._store.get(execution.id)
        return await run_end(self._ctx, ended) if ended is not None else RunEnd()

    async def cancel(self, execution: Execution, *, action: str) -> Execution:
        """Raises NOT_FOUND for a run that has ended."""
        if has_ended(execution):
            ended = (
                f"Run '{run_uuid(execution.id)}' has ended ({status_of(execution).value}): nothing is left to cancel"
            )
            raise Problem(Kind.NOT_FOUND, ended, next_step="Read how it ended; a new run goes on from there.")
        return await self._executions.cancel(execution.id, roll_back=action == "rollback")

    async def cancel_many(
        self, thread_id: str | None, run_ids: Sequence[str] | None, status: str | None, action: str
    ) -> None:
        """Raises NOT_FOUND if there is nothing to cancel, UNPROCESSABLE for both or neither of the two forms: a status
        beside a thread would cancel the runs of all others."""
        named = thread_id is not None and bool(run_ids)
        if named == (status is not None) or (not named and (thread_id is not None or run_ids is not None)):
            raise unprocessable("give either thread_id and run_ids, or status")
        if named:
            found = [await self.get(thread_id or "", run_id) for run_id in run_ids or ()]
        else:
            found = await self._open(OPEN_PHASES[status or "all"])
        open_ones = [one for one in found if not has_ended(one)]
        if not open_ones:
            raise Problem(Kind.NOT_FOUND, "no open run to cancel", next_step="Look at the runs' status.")
        for one in open_ones:
            await self._executions.cancel(one.id, roll_back=action == "rollback")

    async def _open(self, phases: Sequence[Phase]) -> list[Execution]:
        """Open runs that were made by this API, of all threads that the caller may see."""
        found: list[Execution] = []
        for phase in phases:
            token = ""
            while True:
                page = await self._executions.list(
                    ExecutionQuery(phase=phase, page_size=100, page_token=token, view=View.BRIEF)
                )
                found += [one for one in page.executions if RUN in one.spec]
                token = page.next_token
                if not token:
                    break
        return found

    async def delete(self, execution: Execution) -> None:
        """With what it did to the memory of its thread, if nothing came after it. An open run is cancelled first."""
        if has_ended(execution):
            await self._store.undo_ended(execution.id)
        else:
            await self._executions.cancel(execution.id, roll_back=True)

    async def _tidy_up(self, execution: Execution) -> None:
        """Removes the thread of a stateless run after its end."""
        await until_ended(self._ctx, execution.id, LONGEST_S)
        await self._remove_thread(execution.session_id)

    async def _remove_thread(self, session_id: str) -> None:
        try:
            await self._edges.resources.delete(ResourceKind.SESSION, session_id)
        except Problem as problem:
            log.warning("session.cleanup_postponed", session_id=session_id, error=problem)


def _in_their_words(problem: Problem, asked: RunCreate) -> Problem:
    """The refusal of an execution, as one of a run: what the contract calls the message is the run's input."""
    if problem.detail.startswith(MESSAGE):
        said = f"input{problem.detail.removeprefix(MESSAGE)}"
        return Problem(problem.kind, said, next_step=problem.next_step, code=problem.code)
    if problem.kind is not Kind.FAILED_PRECONDITION or asked.multitask_strategy != "reject":
        return problem
    return Problem(
        Kind.FAILED_PRECONDITION,
        "Thread is already running a task. Wait for it to finish, or choose another multitask strategy.",
        next_step='Send "multitask_strategy": "enqueue", "interrupt" or "rollback", or wait for the run to end.',
    )


def _thread_to_be(org: str) -> Thread:
    """In place of the thread that a stateless run will get."""
    session_id = new_resource_id(ResourceKind.SESSION)
    return Thread(session_id=session_id, org=org, status=ThreadStatus.IDLE, created_at=0.0, updated_at=0.0)
