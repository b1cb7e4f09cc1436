"""`/v1/page`: what the live page is told about where it stands."""

from fastapi.responses import JSONResponse, Response

from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.document.schemas import STRING, answer, object_of
from agent_runner.app.server.route_group import RouteGroup

_LINK = object_of(
    name=STRING, url={**STRING, "description": "`{execution_id}` in it stands for the id of an execution"}
)


def page_routes(edges: Edges) -> RouteGroup:
    routes = RouteGroup(prefix="/v1/page", tags=["page"])
    links = [{"name": name, "url": url} for name, url in edges.ctx.settings.linked_pages]

    @routes.get("", responses={200: answer(object_of(links={"type": "array", "items": _LINK}))})
    async def page() -> Response:
        """Where else the page leads, as AGENT_RUNNER_PAGE_LINKS says: Flower, traces, logs."""
        return JSONResponse({"links": links})

    return routes
