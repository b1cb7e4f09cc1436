"""`/assistants`: create, search, count, change, versions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService, is_within
from agent_runner.app.server.agent_server.assistants.assistant_view import assistant_json
from agent_runner.app.server.agent_server.assistants.graph_shapes import ConfigBody, checked_config, checked_context
from agent_runner.app.server.agent_server.offsets import page_answer, selected
from agent_runner.app.server.agent_server.path_ids import AssistantId, Uuid
from agent_runner.app.server.agent_server.refusals import invalid_request
from agent_runner.app.server.agent_server.request_bodies import Body, JsonObject, Limit, Name, Offset, sent
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import known_uuid
from agent_runner.app.server.contract.json_text import WHOLE
from agent_runner.app.server.http.document.schemas import body_of
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.store.registry.assistants import Assistant

Shown = Literal[
    "assistant_id", "graph_id", "name", "description", "config", "context", "created_at", "updated_at", "metadata",
    "version",
]  # fmt: skip
SORTED_BY: Mapping[str, Callable[[Assistant], Any]] = {
    "assistant_id": lambda a: a.id,
    "graph_id": lambda a: a.graph,
    "name": lambda a: a.name,
    "created_at": lambda a: a.first_made_at,
    "updated_at": lambda a: a.created_at,
}


class AssistantCreate(Body):
    graph_id: Name
    assistant_id: Uuid | None = None
    config: ConfigBody | None = None
    context: dict[str, Any] | None = None
    metadata: JsonObject | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    name: Name | None = None
    description: Name | None = None


class AssistantPatch(Body):
    graph_id: Name | None = None
    config: ConfigBody | None = None
    context: dict[str, Any] | None = None
    metadata: JsonObject | None = None
    name: Name | None = None
    description: Name | None = None


class AssistantCount(Body):
    metadata: JsonObject | None = None
    graph_id: Name | None = None
    name: Name | None = None


class AssistantSearch(AssistantCount):
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[Shown] | None = None


class VersionsSearch(Body):
    metadata: JsonObject | None = None
    limit: Limit = 10
    offset: Offset = 0


class LatestVersion(Body):
    version: Annotated[int, Field(ge=1, lt=1 << 31), WHOLE]


def assistant_routes(assistants: AssistantService, threads: ThreadService) -> RouteGroup:
    routes = RouteGroup(prefix="/assistants", tags=["assistants"])

    @routes.post("", name="create assistant", openapi_extra=body_of(AssistantCreate))
    async def create(request: Request) -> JSONResponse:
        new = await sent(request, AssistantCreate)
        config, context = checked_config(new.config), checked_context(new.context)
        _not_both(config, context)
        made = Assistant(
            org=default_org(),
            id=known_uuid(new.assistant_id, "assistant_id") if new.assistant_id else str(uuid4()),
            graph=new.graph_id,
            name="Untitled" if new.name is None else new.name,
            description=new.description,
            config=config,
            context=context,
            metadata=new.metadata or {},
        )
        return JSONResponse(assistant_json(await assistants.create(made, or_existing=new.if_exists == "do_nothing")))

    @routes.post("/search", name="search assistants", openapi_extra=body_of(AssistantSearch))
    async def search(request: Request) -> JSONResponse:
        asked = await sent(request, AssistantSearch)
        found = await _found(assistants, asked)
        key = SORTED_BY[asked.sort_by or "created_at"]
        found.sort(key=lambda one: (key(one), one.id), reverse=asked.sort_order != "asc")
        page = found[asked.offset : asked.offset + asked.limit]
        shown = [selected(assistant_json(one), asked.select) for one in page]
        return page_answer(shown, offset=asked.offset, limit=asked.limit, total=len(found))

    @routes.post("/count", name="count assistants", openapi_extra=body_of(AssistantCount))
    async def count(request: Request) -> JSONResponse:
        return JSONResponse(len(await _found(assistants, await sent(request, AssistantCount))))

    @routes.get("/{assistant_id}", name="get assistant")
    async def get(assistant_id: AssistantId) -> JSONResponse:
        return JSONResponse(assistant_json(await assistants.get(assistant_id)))

    @routes.patch("/{assistant_id}", name="change assistant", openapi_extra=body_of(AssistantPatch))
    async def patch(assistant_id: AssistantId, request: Request) -> JSONResponse:
        """A new version; metadata is merged, other fields replace the old ones."""
        asked = await sent(request, AssistantPatch)

        return JSONResponse(assistant_json(await assistants.change(assistant_id, partial(_changed, asked))))

    @routes.delete("/{assistant_id}", name="delete assistant", status_code=204)
    async def delete(assistant_id: AssistantId, delete_threads: bool = False) -> Response:
        """A graph's default assistant comes back as it was at first. `delete_threads`: with all threads whose metadata
        names it, their runs and their memory."""
        if delete_threads:
            await threads.delete_of_assistant((await assistants.get(assistant_id)).id)
        await assistants.delete(assistant_id)
        return Response(status_code=204)

    versions_body = body_of(VersionsSearch, required=False)

    @routes.post("/{assistant_id}/versions", name="list versions", openapi_extra=versions_body)
    async def versions(assistant_id: AssistantId, request: Request) -> JSONResponse:
        """Newest first."""
        asked = await sent(request, VersionsSearch, optional=True)
        kept = [one for one in await assistants.versions(assistant_id) if is_within(asked.metadata or {}, one.metadata)]
        page = [assistant_json(one) for one in kept[asked.offset : asked.offset + asked.limit]]
        return page_answer(page, offset=asked.offset, limit=asked.limit, total=len(kept))

    latest_body = body_of(LatestVersion)

    @routes.post("/{assistant_id}/latest", name="choose version", openapi_extra=latest_body)
    async def latest(assistant_id: AssistantId, request: Request) -> JSONResponse:
        asked = await sent(request, LatestVersion)
        return JSONResponse(assistant_json(await assistants.set_latest(assistant_id, asked.version)))

    return routes


def _changed(asked: AssistantPatch, now: Assistant) -> Assistant:
    config = now.config if asked.config is None else checked_config(asked.config)
    context = now.context if asked.context is None else checked_context(asked.context)
    if asked.config is not None and asked.context is not None:
        _not_both(config, context)
    # Both are names of the same values: the new one takes the place of the other.
    if asked.context is not None:
        config = {name: value for name, value in config.items() if name != "configurable"}
    elif asked.config is not None and "configurable" in config:
        context = {}
    return replace(
        now,
        graph=asked.graph_id or now.graph,
        name=now.name if asked.name is None else asked.name,
        description=now.description if asked.description is None else asked.description,
        config=config,
        context=context,
        metadata={**now.metadata, **(asked.metadata or {})},
    )


async def _found(assistants: AssistantService, asked: AssistantCount) -> list[Assistant]:
    return await assistants.search(graph=asked.graph_id or "", name=asked.name or "", metadata=asked.metadata or {})


def _not_both(config: Mapping[str, Any], context: Mapping[str, Any]) -> None:
    if config.get("configurable") and context:
        raise invalid_request(
            "Cannot specify both configurable and context: they are the same values",
            next_step="Send `context`; older graphs that read `configurable` get it too.",
        )
