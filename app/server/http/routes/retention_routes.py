"""`/v1/retention`: remove now what is older than the retention allows."""

from dataclasses import fields
from typing import Annotated

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from agent_runner.app.server.access.principal import PLATFORM, must_own
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.answers import body_model
from agent_runner.app.server.http.document.schemas import answer, body_of, object_of
from agent_runner.app.server.maintenance.retention import Report
from agent_runner.app.server.route_group import RouteGroup

RUN_S = 10.0
"""The longest time that one call works."""
_REPORT = object_of(
    **{f.name: {"type": "boolean"} if f.name == "more" else {"type": "integer", "minimum": 0} for f in fields(Report)}
)


class RunRetention(BaseModel):
    """Without `days`, as AGENT_RUNNER_RETENTION_DAYS says. 0: whatever has ended."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] | None = None
    dry_run: bool = False


def retention_routes(edges: Edges) -> RouteGroup:
    routes = RouteGroup(prefix="/v1/retention", tags=["retention"])
    described = body_of(RunRetention)

    @routes.post("", openapi_extra=described, responses={200: answer(_REPORT)})
    async def run_retention(request: Request) -> Response:
        """What was removed, or with `dry_run` what would be. `more`: the time was up before all was done, call again.

        It removes what belongs to any org: a key of one org may not.
        """
        given = await body_model(request, RunRetention)
        must_own(PLATFORM)
        if given.dry_run:
            report = await edges.retention.preview(given.days)
        else:
            report = await edges.retention.run(given.days, within_s=RUN_S, by_hand=True)
        return JSONResponse(report.as_json())

    return routes
