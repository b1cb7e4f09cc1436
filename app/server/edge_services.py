"""The services that the handlers of HTTP and gRPC call. They are made once from the context."""

from dataclasses import dataclass, replace
from typing import Any, Self

from agent_runner.app.server.access.org_view import visible
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.executions.drafts.draft import Accepted
from agent_runner.app.server.executions.execution_service import Executions
from agent_runner.app.server.executions.placement import Placing
from agent_runner.app.server.executions.view import brief_json, execution_json
from agent_runner.app.server.log_feed.follow import snapshot
from agent_runner.app.server.maintenance.retention import Retention
from agent_runner.app.server.resources.archives import Artifacts
from agent_runner.app.server.resources.resource_service import Resources
from agent_runner.app.server.resources.skills import Skills
from agent_runner.app.server.runners.failure_reports import Reports
from agent_runner.status.brief import Brief
from agent_runner.status.store.lists.queries import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    ctx: ServerContext
    """Its store shows only the records that the caller of each call may see."""
    executions: Executions
    resources: Resources
    skills: Skills
    reports: Reports
    retention: Retention

    @classmethod
    def of(cls, server: ServerContext) -> Self:
        ctx = replace(server, store=visible(server.store, server.gate.keys.confirm))

        async def session_deleted(session_id: str) -> None:
            await ctx.dispatcher.clean_up(session_id, ctx.settings.runner_queue)

        resources = Resources(ctx.store, ctx.sealing, session_deleted)
        executions = Executions(ctx, Placing(ctx.store, resources))
        return cls(
            ctx=ctx,
            executions=executions,
            resources=resources,
            skills=Skills(Artifacts(ctx.store), ctx.sealing, resources),
            reports=Reports(server),
            retention=Retention.of(server),
        )

    async def shown(self, execution_id: str) -> dict[str, Any]:
        """The whole execution as JSON. Raises NOT_FOUND."""
        found = await snapshot(self.ctx, execution_id)
        return execution_json(found.execution, found.state)

    async def shown_new(self, accepted: Accepted) -> dict[str, Any]:
        """As `shown`, for an execution that was just accepted: what was written is not read again."""
        if accepted.state is None:
            return await self.shown(accepted.execution.id)
        return execution_json(accepted.execution, accepted.state)

    def shown_page(self, page: Page) -> list[dict[str, Any]]:
        return [
            brief_json(e, told) if isinstance(told, Brief) else execution_json(e, told)
            for e, told in zip(page.executions, page.states, strict=True)
        ]
