"""`/v1/sessions/{id}/state`: the state that a session remembers."""

from typing import Annotated

from fastapi import Query
from fastapi.responses import JSONResponse, Response

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import answer
from agent_runner.app.server.resources.session_state import DEFAULT_MESSAGES, MOST_MESSAGES, session_state
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.store.records import ResourceKind

Messages = Annotated[
    int, Query(ge=0, description=f"the newest of them; 0: {DEFAULT_MESSAGES}; at most {MOST_MESSAGES}")
]


def session_routes(edges: Edges) -> RouteGroup:
    routes = RouteGroup(prefix="/v1/sessions", tags=["sessions"])

    @routes.get("/{name}/state", name="get the state of a session", responses={200: answer(ref("SessionState"))})
    async def state(name: str, org: str = "", messages: Messages = 0) -> Response:
        """What it remembers at its head: the messages of its conversation, the fields beside them, open questions."""
        session = await edges.resources.named(ResourceKind.SESSION, org or default_org(), name)
        return JSONResponse(await session_state(edges.ctx, session.id, messages))

    return routes
