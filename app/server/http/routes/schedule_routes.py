"""`/v1/schedules`: executions that begin by the clock."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response

from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.answers import body_model
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schedule_forms import NEW_FORM, PATCH_FORM, PREVIEW_FORM
from agent_runner.app.server.http.document.schedule_schemas import COMING
from agent_runner.app.server.http.document.schemas import STRING, answer, body_of, object_of
from agent_runner.app.server.http.routes.parameters import IdempotencyKey, PageSize, PageToken
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.app.server.schedules.makers import makers_of
from agent_runner.app.server.schedules.schedule_bodies import NewSchedule, Preview, SchedulePatch, rules_of
from agent_runner.app.server.schedules.schedule_service import ScheduleService
from agent_runner.app.server.schedules.schedule_view import firing_json, schedule_json
from agent_runner.clients.cron.times import zone_of
from agent_runner.status.log.log import rfc3339
from agent_runner.status.schedules.schedule import Rules
from agent_runner.status.store.registry.schedules import ScheduleQuery
from agent_runner.status.store.turns.firings import KEPT

Count = Annotated[int, Query(ge=1, le=100)]
Org = Annotated[str, Query(max_length=255)]
_ONE: dict[int | str, dict[str, Any]] = {200: answer(ref("Schedule"))}
_LIST = object_of(schedules={"type": "array", "items": ref("Schedule")}, next_page_token=STRING)
_TIMES: dict[int | str, dict[str, Any]] = {200: answer(object_of(times=COMING))}
_FIRINGS = object_of(firings={"type": "array", "items": ref("Firing"), "maxItems": KEPT})


def schedule_routes(edges: Edges) -> RouteGroup:
    routes = RouteGroup(prefix="/v1/schedules", tags=["schedules"])
    service = ScheduleService(edges, makers_of(edges))
    made: dict[int | str, dict[str, Any]] = {201: answer(ref("Schedule"))}

    @routes.post("", status_code=201, openapi_extra=body_of(NEW_FORM), responses=made)
    async def create_schedule(request: Request) -> Response:
        """A new schedule. What a firing would be refused for now is refused here."""
        new = await service.create(await body_model(request, NewSchedule))
        return JSONResponse(schedule_json(new), status_code=201)

    @routes.get("", responses={200: answer(_LIST)})
    async def list_schedules(org: Org = "", page_size: PageSize = 0, page_token: PageToken = "") -> Response:
        """Newest first; those of the Agent Server API too."""
        page = await service.page(ScheduleQuery(org=org, page_size=page_size, page_token=page_token))
        shown = [schedule_json(one) for one in page.schedules]
        return JSONResponse({"schedules": shown, "next_page_token": page.next_token})

    @routes.post("/preview", openapi_extra=body_of(PREVIEW_FORM), responses=_TIMES)
    async def preview_times(request: Request) -> Response:
        """The next times of a schedule that is not made."""
        sent = await body_model(request, Preview)
        rules = rules_of(sent, Rules())
        return JSONResponse({"times": _told(await service.coming(rules, sent.count), rules)})

    @routes.get("/{schedule_id}", responses=_ONE)
    async def get_schedule(schedule_id: str) -> Response:
        return JSONResponse(schedule_json(await service.get(schedule_id)))

    @routes.patch("/{schedule_id}", openapi_extra=body_of(PATCH_FORM), responses=_ONE)
    async def change_schedule(schedule_id: str, request: Request) -> Response:
        """What is left out stays. `execution` is replaced as a whole; a secret that is sent as `***` is kept."""
        sent = await body_model(request, SchedulePatch)
        return JSONResponse(schedule_json(await service.patch(schedule_id, sent)))

    @routes.delete("/{schedule_id}", status_code=204, response_class=Response)
    async def delete_schedule(schedule_id: str) -> Response:
        """With its history. Executions that it made stay."""
        await service.delete(schedule_id)
        return Response(status_code=204)

    @routes.post("/{schedule_id}/pause", responses=_ONE)
    async def pause_schedule(schedule_id: str) -> Response:
        """It fires no more until it goes on. Again: the same answer."""
        return JSONResponse(schedule_json(await service.patch(schedule_id, SchedulePatch(paused=True))))

    @routes.post("/{schedule_id}/resume", responses=_ONE)
    async def resume_schedule(schedule_id: str) -> Response:
        """It goes on with its next time; those that came meanwhile do not fire."""
        return JSONResponse(schedule_json(await service.patch(schedule_id, SchedulePatch(paused=False))))

    @routes.post("/{schedule_id}/fire", status_code=201, responses={201: answer(ref("AgentExecution"))})
    async def fire_schedule(schedule_id: str, idempotency_key: IdempotencyKey = "") -> Response:
        """One execution now, also while it is paused or over. Its times stay as they are."""
        fired = await service.fire(schedule_id, idempotency_key=idempotency_key)
        return JSONResponse(await edges.shown(fired.id), status_code=201)

    @routes.get("/{schedule_id}/firings", responses={200: answer(_FIRINGS)})
    async def list_firings(schedule_id: str, limit: Count = KEPT) -> Response:
        """The newest first: what came of its times, those too that made no execution."""
        found = await service.firings(schedule_id, limit)
        return JSONResponse({"firings": [firing_json(one) for one in found]})

    @routes.get("/{schedule_id}/preview", responses=_TIMES)
    async def preview_schedule(schedule_id: str, count: Count = 10) -> Response:
        """Its next times, as if it were not paused."""
        one, times = await service.next_times(schedule_id, count)
        return JSONResponse({"times": _told(times, one.rules)})

    return routes


def _told(times: list[float], rules: Rules) -> list[dict[str, str]]:
    zone = zone_of(rules.timezone)
    return [{"at": rfc3339(at), "local": datetime.fromtimestamp(at, UTC).astimezone(zone).isoformat()} for at in times]
