"""`/ok` and `/info`: open, without data. Clients ask for them before anything else."""

from fastapi.responses import JSONResponse

from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.document.schemas import answer, object_of
from agent_runner.app.server.route_group import RouteGroup

API_VERSION = "0.16.7"
"""The release of the Agent Server API whose answers this edge gives."""
_TRUE = {"type": "boolean"}


def server_facts(edges: Edges, version: str) -> RouteGroup:
    routes = RouteGroup(tags=["agent server"])

    @routes.get("/ok", responses={200: answer(object_of(ok=_TRUE, services={"type": "object"}))})
    async def ok(check_db: int = 0) -> JSONResponse:
        """This server answers; with `check_db=1`, so does its database."""
        if check_db:
            await edges.ctx.store.ping()
        return JSONResponse({"ok": True, "services": {}})

    @routes.get("/info", responses={200: answer({"type": "object"})})
    async def info() -> JSONResponse:
        """Versions, and what this server can do."""
        flags = {"assistants": True, "crons": True, "langsmith": False, "langsmith_tracing_replicas": False}
        host = {"kind": "self-hosted", "project_id": None, "host_revision_id": None, "revision_id": None}
        told = {"version": API_VERSION, "flags": flags, "host": {**host, "tenant_id": None}}
        return JSONResponse({**told, "server": "agent-runner", "server_version": version})

    return routes
