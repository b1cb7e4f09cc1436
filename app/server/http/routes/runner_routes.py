"""The list of workers and reports about them: `/v1/workers`, `/v1/runner/exits`, `/v1/runner/failures`."""

from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from agent_runner.app.server.contract.json_text import WHOLE
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.answers import body_model
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import STRING, STRINGS, answer, body_of, object_of
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.app.server.runners.failure_reports import STEPS_OF_MESSAGE, ExitReport, Name
from agent_runner.app.server.runners.served_queues import may_fail, must_serve
from agent_runner.app.server.runners.worker_keys import must_be_mine
from agent_runner.app.server.runners.worker_states import state_of
from agent_runner.status.failures import Code
from agent_runner.status.log.log import rfc3339
from agent_runner.status.requests.retries import MOST_ATTEMPTS
from agent_runner.status.store.records import Worker


class FailureReport(BaseModel):
    """From a worker: a task failed and its body could not report it."""

    model_config = ConfigDict(use_enum_values=True)

    execution_id: Name = Field(min_length=1)
    code: Code
    facts: dict[str, Any] = Field(default_factory=dict)
    after_grace: bool = False
    step: str = Field(default="", json_schema_extra={"enum": ["", *STEPS_OF_MESSAGE]})
    attempt: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS), WHOLE] = 1


_STARTS: dict[str, Any] = {"type": "object", "additionalProperties": object_of(at=STRING, text=STRING)}
_WORKERS = answer(object_of(workers={"type": "array", "items": ref("Worker")}, startup_failures=_STARTS))
_ENDED = answer(object_of(ended=STRINGS))
_APPLIED = answer(object_of(applied={"type": "boolean"}, phase=STRING, code=STRING))


def runner_routes(edges: Edges) -> RouteGroup:
    routes = RouteGroup(prefix="/v1", tags=["workers"])

    @routes.get("/workers", responses={200: _WORKERS})
    async def workers() -> Response:
        """Worker processes that are here or left within a day, and the last failed start of each queue."""
        settings, store = edges.ctx.settings, edges.ctx.store
        failed = {
            queue: {"at": rfc3339(found[0]), "text": found[1]}
            for queue in (settings.runner_queue, settings.orchestrator_queue)
            if (found := await store.last_startup_failure(queue))
        }
        silent_before = await store.now() - settings.timeouts.heartbeat_s
        shown = [_worker(worker, silent_before) for worker in await store.workers()]
        return JSONResponse({"workers": shown, "startup_failures": failed})

    exit_body, failure_body = (body_of(model) for model in (ExitReport, FailureReport))

    @routes.post("/runner/exits", status_code=202, openapi_extra=exit_body, responses={202: _ENDED})
    async def exits(request: Request) -> Response:
        """Runs of that process end now (E103); a failed start is quoted by E101 until a worker is up."""
        report = await body_model(request, ExitReport)
        await must_be_mine(edges.ctx.store, report.incarnation)
        if report.queue:
            must_serve(report.queue)
        ended = await edges.reports.exit(report)
        return JSONResponse({"ended": ended}, status_code=202)

    @routes.post("/runner/failures", status_code=202, openapi_extra=failure_body, responses={202: _APPLIED})
    async def failures(request: Request) -> Response:
        """End an execution that is still open; `after_grace` leaves time for a truer reason."""
        report = await body_model(request, FailureReport)
        await may_fail(edges.ctx.store, report.execution_id)
        settled = await edges.reports.failure(
            report.execution_id,
            str(report.code),
            report.facts,
            step=report.step,
            after_grace=report.after_grace,
            attempt=report.attempt,
        )
        execution = settled.execution if settled else None
        body = {
            "applied": bool(settled and settled.accepted),
            "phase": execution.phase.wire_name if execution else "",
            "code": execution.error_code if execution else "",
        }
        return JSONResponse(body, status_code=202)

    return routes


def _worker(worker: Worker, silent_before: float) -> dict[str, Any]:
    times = {
        name: rfc3339(at)
        for name in ("connected_at", "last_seen_at", "disconnected_at", "gone_at")
        if (at := getattr(worker, name)) is not None
    }
    names = (
        "incarnation",
        "name",
        "role",
        "queue",
        "hostname",
        "pid",
        "version",
        "slots",
        "busy",
        "exit_text",
        "sandbox",
    )
    wear = ("hung_threads", "not_taking")
    facts = {name: getattr(worker, name) for name in (*names, *wear)}
    return {**facts, **times, "state": state_of(worker, silent_before), "loop_lag_s": round(worker.loop_lag_s, 3)}
