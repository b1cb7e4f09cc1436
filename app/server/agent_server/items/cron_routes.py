"""`/runs/crons`, `/threads/{thread_id}/runs/crons`: schedules that make runs (`/v1/schedules` lists them too)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService, is_within
from agent_runner.app.server.agent_server.items.cron_bodies import (
    PATCH_FORM,
    CronCount,
    CronCreate,
    CronPatch,
    CronSearch,
    cron_json,
    cron_rules,
    payload_of,
)
from agent_runner.app.server.agent_server.offsets import page_answer, selected
from agent_runner.app.server.agent_server.path_ids import CronId, ThreadId
from agent_runner.app.server.agent_server.refusals import absent, invalid_request
from agent_runner.app.server.agent_server.request_bodies import sent
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import is_uuid, known_uuid, schedule_of
from agent_runner.app.server.contract.ids import new_schedule_id
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.document.schemas import body_of
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.app.server.schedules.makers import makers_of
from agent_runner.app.server.schedules.schedule_service import ScheduleService
from agent_runner.status.schedules.schedule import AGENT_SERVER, Overlap, Rules, Schedule
from agent_runner.status.store.registry.schedules import ScheduleQuery

Json = dict[str, Any]


class CronHandlers:
    def __init__(self, edges: Edges, threads: ThreadService, assistants: AssistantService) -> None:
        self._store, self._threads, self._assistants = edges.ctx.store, threads, assistants
        self._schedules = ScheduleService(edges, makers_of(edges))

    async def create(self, request: Request) -> Response:
        """Each run has a thread of its own; `on_run_completed`: what becomes of that."""
        return await self._made(await sent(request, CronCreate), None)

    async def create_in_thread(self, thread_id: ThreadId, request: Request) -> Response:
        """All runs are in the thread; `multitask_strategy` says what they do to one that has not ended."""
        asked = await sent(request, CronCreate)
        return await self._made(asked, thread_id)

    async def _made(self, asked: CronCreate, thread_id: str | None) -> Response:
        rules = cron_rules(asked, Rules())
        thread = None if thread_id is None else await self._threads.get(thread_id)
        request = payload_of(asked) | {"assistant_id": await self._assistant(asked.assistant_id)}
        if thread is not None:
            rules = replace(rules, overlap=Overlap(asked.multitask_strategy or "enqueue"))
        new = Schedule(
            id=new_schedule_id(),
            org=thread.org if thread else default_org(),
            name=f"cron of {asked.assistant_id[:100]}",
            rules=rules,
            edge=AGENT_SERVER,
            session_id=thread.session_id if thread else "",
            paused=asked.enabled is False,
        )
        return await self._answer(await self._schedules.add(new, request))

    async def _assistant(self, given: str) -> str:
        try:
            return (await self._assistants.resolve(given)).id
        except Problem as problem:
            if problem.kind is Kind.UNPROCESSABLE and not is_uuid(given):
                raise absent("Assistant", given) from None
            raise

    async def search(self, request: Request) -> Response:
        asked = await sent(request, CronSearch)
        found = await self._found(asked, asked.enabled)
        key = asked.sort_by or "created_at"
        known = sorted((one for one in found if one[key]), key=_by(key), reverse=asked.sort_order != "asc")
        found = [*known, *(one for one in found if not one[key])]
        shown = [selected(one, asked.select) for one in found[asked.offset : asked.offset + asked.limit]]
        return page_answer(shown, offset=asked.offset, limit=asked.limit, total=len(found))

    async def count(self, request: Request) -> Response:
        return JSONResponse(len(await self._found(await sent(request, CronCount), None)))

    async def get(self, cron_id: CronId) -> Response:
        return await self._answer(await self._one(cron_id))

    async def patch(self, cron_id: CronId, request: Request) -> Response:
        """What is sent replaces what was there; `end_time` null takes the end away."""
        asked = await sent(request, CronPatch)
        if not asked.model_fields_set:
            raise invalid_request("the body has no field to change", next_step="Send what shall change.")
        found = await self._one(cron_id)
        given = payload_of(asked)
        if asked.assistant_id:
            given["assistant_id"] = await self._assistant(asked.assistant_id)

        def patched(one: Schedule) -> Schedule:
            paused = one.paused if asked.enabled is None else not asked.enabled
            rules = cron_rules(asked, one.rules)
            if one.session_id and asked.multitask_strategy:
                rules = replace(rules, overlap=Overlap(asked.multitask_strategy))
            return replace(one, rules=rules, paused=paused)

        def request_of(one: Schedule) -> Json:
            merged = {**one.request, **given}
            if "end_time" in asked.model_fields_set and asked.end_time is None:
                merged.pop("end_time", None)
            return merged

        return await self._answer(await self._schedules.change(found.id, patched, request_of))

    async def delete(self, cron_id: CronId) -> Response:
        """Runs that it made stay."""
        await self._schedules.delete((await self._one(cron_id)).id)
        return Response(status_code=204)

    async def _one(self, cron_id: str) -> Schedule:
        found = await self._store.find_schedule(schedule_of(cron_id))
        if found is None or found.edge != AGENT_SERVER:
            raise absent("Cron", cron_id)
        return found

    async def _found(self, asked: CronCount, enabled: bool | None) -> list[Json]:
        """Newest first."""
        now = await self._store.clock()
        shown = [cron_json(one, now) for one in await self._schedules.search(ScheduleQuery(edge=AGENT_SERVER))]
        ids = {"assistant_id": asked.assistant_id, "thread_id": asked.thread_id}
        wanted: Json = {name: known_uuid(text, name) for name, text in ids.items() if text is not None}
        if enabled is not None:
            wanted["enabled"] = enabled
        return [
            one
            for one in shown
            if all(one[name] == value for name, value in wanted.items())
            and is_within(asked.metadata or {}, one["metadata"])
        ]

    async def _answer(self, one: Schedule) -> Response:
        return JSONResponse(cron_json(one, await self._store.clock()))


def _by(key: str) -> Callable[[Json], Any]:
    return lambda one: one[key]


def cron_routes(edges: Edges, threads: ThreadService, assistants: AssistantService) -> RouteGroup:
    routes = RouteGroup(tags=["crons"])
    do, add = CronHandlers(edges, threads, assistants), routes.add_api_route
    made, one = body_of(CronCreate), "/runs/crons/{cron_id}"
    add("/threads/{thread_id}/runs/crons", do.create_in_thread, methods=["POST"], openapi_extra=made)
    add("/runs/crons", do.create, methods=["POST"], openapi_extra=made)
    add("/runs/crons/search", do.search, methods=["POST"], openapi_extra=body_of(CronSearch))
    add("/runs/crons/count", do.count, methods=["POST"], openapi_extra=body_of(CronCount))
    add(one, do.get, methods=["GET"])
    add(one, do.patch, methods=["PATCH"], openapi_extra=body_of(PATCH_FORM))
    add(one, do.delete, methods=["DELETE"], status_code=204, response_class=Response)
    return routes
