"""Makes the runs of crons: schedules whose request is kept as the body of a run."""

from dataclasses import replace

from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService
from agent_runner.app.server.agent_server.refusals import absent
from agent_runner.app.server.agent_server.runs.run_bodies import RunCreate
from agent_runner.app.server.agent_server.runs.run_service import RunService
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import cron_uuid, is_uuid, thread_uuid
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.drafts.draft import Draft
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.app.server.schedules.schedule_requests import SCHEDULE, facts_of, whole
from agent_runner.status.schedules.schedule import Mark, Schedule
from agent_runner.status.store.records import Execution


class CronRuns:
    def __init__(self, edges: Edges) -> None:
        self._sealing = edges.ctx.sealing
        self._runs = RunService(edges, ThreadService(edges), AssistantService(edges.ctx))

    async def check(self, schedule: Schedule) -> None:
        asked = self._asked(schedule)
        try:
            await self._runs.check(_thread(schedule), asked)
        except Problem as problem:
            if problem.kind is Kind.UNPROCESSABLE and not is_uuid(asked.assistant_id):
                raise absent("Assistant", asked.assistant_id) from None
            raise

    async def make(self, schedule: Schedule, mark: Mark, *, fired_by: str, idempotency_key: str) -> Execution:
        def amended(draft: Draft) -> Draft:
            metadata = draft.execution.metadata
            metadata.tags.append(f"schedule:{schedule.id}")
            metadata.labels[SCHEDULE] = schedule.id
            for name, value in facts_of(schedule, mark, fired_by).items():
                metadata.annotations[name] = value
            return replace(draft, fired=mark, idempotency_key=idempotency_key)

        made = await self._runs.create(_thread(schedule), self._asked(schedule), keeps_stream=True, amended=amended)
        return made.execution

    def _asked(self, schedule: Schedule) -> RunCreate:
        """The body of a run. Its metadata names the cron. Its `configurable` does not: graphs are given only what they
        declare there."""
        request = whole(self._sealing, schedule)
        asked = RunCreate.model_validate(request, strict=True)
        ends = "keep" if request.get("on_run_completed") == "keep" else "delete"
        named = {**(asked.metadata or {}), "cron_id": cron_uuid(schedule.id)}
        return asked.model_copy(update={"metadata": named, "on_completion": ends})


def _thread(schedule: Schedule) -> str | None:
    return thread_uuid(schedule.session_id) if schedule.session_id else None
