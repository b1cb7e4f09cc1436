"""`/assistants`: get. The others follow."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService
from agent_runner.app.server.agent_server.assistants.assistant_view import assistant_json


def assistant_routes(assistants: AssistantService) -> APIRouter:
    routes = APIRouter(prefix="/assistants", tags=["assistants"])

    @routes.get("/{assistant_id}", name="get assistant")
    async def get(assistant_id: str) -> JSONResponse:
        return JSONResponse(assistant_json(await assistants.get(assistant_id)))

    return routes
