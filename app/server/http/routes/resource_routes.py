"""`/v1/agents`, `/v1/agent-instances`, `/v1/sessions`, `/v1/skills`, `/v1/environments`: one set of routes per kind."""

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.answers import body_object
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import answer, body_of, page_of
from agent_runner.app.server.http.large_json import json_answer
from agent_runner.app.server.http.routes.parameters import PageSize, PageToken, Tags, Viewed
from agent_runner.app.server.http.routes.skill_routes import skill_routes
from agent_runner.app.server.problems import invalid
from agent_runner.app.server.resources.resource_bodies import parsed
from agent_runner.app.server.resources.resource_kinds import DEFINITIONS, Definition
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.log.bounds import MAX_PAGE_BYTES
from agent_runner.status.store.lists.queries import ResourceQuery, View
from agent_runner.status.store.records import ResourceKind


def resource_routes(edges: Edges) -> RouteGroup:
    routes = RouteGroup()
    # As they are: to include a router makes each of its routes a second time, which is most of what a route costs.
    for definition in DEFINITIONS.values():
        if definition.route:
            routes.routes += _routes_of(definition, edges).routes
        if definition.kind is ResourceKind.SKILL:
            routes.routes += skill_routes(edges).routes
        elif definition.route:
            routes.routes += _create_and_get(definition, edges).routes
    return routes


def _create_and_get(definition: Definition, edges: Edges) -> RouteGroup:
    kind, resources = definition.kind, edges.resources
    routes = RouteGroup(prefix=f"/v1/{definition.route}", tags=[definition.route])
    shown, given = answer(ref(kind.value)), body_of(ref(f"{kind.value}Input"))

    @routes.post("", status_code=201, name=f"create {kind.value}", openapi_extra=given, responses={201: shown})
    async def create(request: Request) -> Response:
        message = parsed(kind, await body_object(request))
        return JSONResponse(await resources.create(message), status_code=201)

    @routes.get("/{name}", name=f"get {kind.value}", responses={200: shown})
    async def get(name: str, org: str = "") -> Response:
        """By id, or by slug in the org."""
        return JSONResponse(await resources.shown(await resources.named(kind, org or default_org(), name)))

    return routes


def _routes_of(definition: Definition, edges: Edges) -> RouteGroup:
    """The routes that all kinds share."""
    kind, resources = definition.kind, edges.resources
    write = edges.skills if kind is ResourceKind.SKILL else resources
    routes = RouteGroup(prefix=f"/v1/{definition.route}", tags=[definition.route])
    shown, page = answer(ref(kind.value)), answer(page_of(kind.value))
    given, changed = body_of(ref(f"{kind.value}Input")), body_of(ref(f"{kind.value}Update"))

    @routes.get("", name=f"list {definition.route}", responses={200: page})
    async def list_resources(
        tags: Tags,
        org: str = "",
        agent: str = "",
        page_size: PageSize = 0,
        page_token: PageToken = "",
        view: Viewed = "",
    ) -> Response:
        """Newest first, without content unless it is asked for (`view=full`). `agent` (id or slug) where the kind
        belongs to one."""
        agent_id = (await resources.named(ResourceKind.AGENT, org or default_org(), agent)).id if agent else ""
        query = ResourceQuery(
            kind=kind,
            org=org,
            tags=tags,
            page_size=page_size,
            page_token=page_token,
            view=View(view or View.BRIEF),
            max_bytes=MAX_PAGE_BYTES,
        )
        found = await resources.list(query, agent_id=agent_id)
        body = {"entries": found.resources, "next_page_token": found.next_token, "total": found.total}
        return await json_answer(body)

    @routes.put("", name=f"apply {kind.value}", openapi_extra=given, responses={200: shown})
    async def apply(request: Request) -> Response:
        """Create it, or replace the one with the same id, or the same org and slug."""
        return JSONResponse(await write.apply(parsed(kind, await body_object(request))))

    @routes.put("/{name}", name=f"update {kind.value}", openapi_extra=changed, responses={200: shown})
    async def update(name: str, request: Request, org: str = "") -> Response:
        """Replace spec, labels, annotations and tags. `metadata` may be empty: then these three are taken away."""
        body = await body_object(request)
        stored = await resources.named(kind, org or default_org(), name)
        metadata = body.get("metadata")  # must be there: without it all labels and tags would go unasked
        if isinstance(metadata, dict) and metadata.setdefault("id", stored.id) != stored.id:
            raise invalid(f"metadata.id: the body names another {kind.value} than the path")
        return JSONResponse(await write.update(parsed(kind, body)))

    @routes.delete("/{name}", name=f"delete {kind.value}", responses={200: shown})
    async def delete(name: str, org: str = "") -> Response:
        """Answers what it was."""
        stored = await resources.named(kind, org or default_org(), name)
        return JSONResponse(await resources.delete(kind, stored.id))

    return routes
