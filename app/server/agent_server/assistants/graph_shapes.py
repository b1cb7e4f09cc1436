"""The configuration of an assistant, and what a worker says of its graph: schemas, drawing, sub-graphs.

The shape of a graph changes only with its file, so an answer is kept for a while."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import JSONResponse
from pydantic import Field

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService
from agent_runner.app.server.agent_server.path_ids import AssistantId
from agent_runner.app.server.agent_server.queries.graph_questions import GraphQuestions
from agent_runner.app.server.agent_server.refusals import unprocessable
from agent_runner.app.server.agent_server.request_bodies import Body
from agent_runner.app.server.agent_server.uuids import is_uuid
from agent_runner.app.server.contract.json_text import WHOLE
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.drafts.run_config import MAX_LIMIT, check_config
from agent_runner.app.server.problems import Problem
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.registry.assistants import Assistant

FRESH_S = 60.0
MOST_KEPT = 500
MOST_DEEP = 50
_XRAY = {"pattern": "^([Tt]rue|[Ff]alse|[1-9]|[1-4][0-9]|50)$"}


class ConfigBody(Body):
    tags: list[str] | None = None
    recursion_limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), WHOLE] | None = None
    configurable: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


def checked_config(given: ConfigBody | None) -> dict[str, Any]:
    """Without the names that are the runner's own: clients send them back as they got them."""
    if given is None:
        return {}
    kept = {name: value for name, value in given.model_dump().items() if value is not None}
    for name in ("configurable", "metadata"):
        if name in kept:
            kept[name] = {key: value for key, value in kept[name].items() if not _ours(name, key)}
    return kept


def checked_context(given: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(given or {})


def _ours(where: str, key: str) -> bool:
    try:
        check_config({where: {key: 0}})
    except Problem:
        return True
    return False


class GraphShapes:
    def __init__(self, edges: Edges, assistants: AssistantService, questions: GraphQuestions) -> None:
        self._store = edges.ctx.store
        self._assistants = assistants
        self._questions = questions
        self._kept: dict[tuple[str, ...], tuple[float, Any]] = {}

    async def of(self, assistant: Assistant, kind: str, **asked: Any) -> Any:
        target = await self._assistants.target(assistant)
        agent_id = ""
        if target.agent:
            found = await self._store.find_resource(ResourceKind.AGENT, assistant.org or default_org(), target.agent)
            agent_id = found.id if found else ""
        key = (kind, target.graph, agent_id, repr(sorted(asked.items())))
        kept_at, kept = self._kept.get(key, (0.0, None))
        if kept is None or time.monotonic() - kept_at > FRESH_S:
            kept = await self._questions.ask(kind, asked, org=default_org(), graph=target.graph, agent_id=agent_id)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = time.monotonic(), kept
        return kept


def graph_shape_routes(edges: Edges, assistants: AssistantService, questions: GraphQuestions) -> RouteGroup:
    routes = RouteGroup(prefix="/assistants", tags=["assistants"])
    shapes = GraphShapes(edges, assistants, questions)

    @routes.get("/{assistant_id}/schemas", name="get schemas")
    async def schemas(assistant_id: AssistantId) -> JSONResponse:
        """JSON Schemas of the graph's input, output, state, configuration and context."""
        assistant = await assistants.get(assistant_id)
        return JSONResponse({"graph_id": assistant.graph, **await shapes.of(assistant, "schemas")})

    @routes.get("/{assistant_id}/graph", name="draw graph")
    async def graph(assistant_id: str, xray: Annotated[str, Query(json_schema_extra=_XRAY)] = "false") -> JSONResponse:
        """Nodes and edges. `xray`: true, or how deep to look into sub-graphs."""
        given = assistant_id if is_uuid(assistant_id) else (await assistants.resolve(assistant_id)).id
        depth: bool | int
        if xray.lower() in ("true", "false"):
            depth = xray.lower() == "true"
        elif xray.isascii() and xray.isdigit() and 0 < int(xray[:9]) <= MOST_DEEP:
            depth = int(xray)
        else:
            raise unprocessable("Invalid xray value", next_step=f"Send true, false, or a number from 1 to {MOST_DEEP}.")
        return JSONResponse(await shapes.of(await assistants.get(given), "drawing", xray=depth))

    @routes.get("/{assistant_id}/subgraphs", name="list subgraphs")
    async def subgraphs(assistant_id: AssistantId, recurse: bool = False) -> JSONResponse:
        """The schemas of sub-graphs by their names."""
        return JSONResponse(await shapes.of(await assistants.get(assistant_id), "subgraphs", recurse=recurse))

    @routes.get("/{assistant_id}/subgraphs/{namespace}", name="get subgraph")
    async def subgraph(assistant_id: AssistantId, namespace: str, recurse: bool = False) -> JSONResponse:
        assistant = await assistants.get(assistant_id)
        return JSONResponse(await shapes.of(assistant, "subgraphs", namespace=namespace, recurse=recurse))

    return routes
