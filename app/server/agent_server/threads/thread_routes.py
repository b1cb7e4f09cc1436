"""`/threads`: create and get. The others follow."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from agent_runner.app.server.agent_server.request_bodies import Body, sent
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.threads.thread_view import thread_json
from agent_runner.app.server.http.document.schemas import body_of


class Ttl(Body):
    ttl: float = Field(gt=0, description="minutes")
    strategy: Literal["delete", "keep_latest"] = "delete"


class ThreadCreate(Body):
    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: Ttl | None = None


def thread_routes(threads: ThreadService) -> APIRouter:
    routes = APIRouter(prefix="/threads", tags=["threads"])

    @routes.post("", name="create thread", openapi_extra=body_of(ThreadCreate.model_json_schema()))
    async def create(request: Request) -> JSONResponse:
        new = await sent(request, ThreadCreate)
        thread = await threads.create(
            new.thread_id or "",
            metadata=new.metadata,
            ttl=new.ttl.model_dump() if new.ttl else None,
            or_existing=new.if_exists == "do_nothing",
        )
        return JSONResponse(thread_json(thread, with_ttl=new.ttl is not None))

    @routes.get("/{thread_id}", name="get thread")
    async def get(thread_id: str, include: str = "") -> JSONResponse:
        thread = await threads.get(thread_id)
        return JSONResponse(thread_json(thread, with_ttl="ttl" in include.split(",")))

    return routes
