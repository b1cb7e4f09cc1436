"""`/runs` and `/threads/{thread_id}/runs`."""

from fastapi import APIRouter

from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.edge_services import Edges


def run_routes(edges: Edges, threads: ThreadService, assistants: AssistantService) -> APIRouter:
    return APIRouter(tags=["runs"])
