"""`/threads/{thread_id}/state`, `/history` and `/storage`."""

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse

from agent_runner.app.server.agent_server.path_ids import ThreadId
from agent_runner.app.server.agent_server.refusals import unprocessable
from agent_runner.app.server.agent_server.request_bodies import Body, Limit, Name, sent
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.threads.thread_states import ThreadStates
from agent_runner.app.server.http.document.schemas import STRING, answer, body_of, object_of
from agent_runner.app.server.route_group import RouteGroup

_NUMBER = {"type": "integer", "minimum": 0}
_STORED = object_of(count=_NUMBER, bytes=_NUMBER)
_BY_CHANNEL = {"type": "object", "additionalProperties": object_of(versions=_NUMBER, bytes=_NUMBER)}
_STORAGE = object_of(
    thread_id=STRING,
    total_bytes=_NUMBER,
    checkpoints=_STORED,
    channel_values=object_of(count=_NUMBER, bytes=_NUMBER, by_channel=_BY_CHANNEL),
    pending_writes=_STORED,
)


class CheckpointBody(Body):
    thread_id: Name | None = None
    checkpoint_ns: Name | None = None
    checkpoint_id: Name | None = None
    checkpoint_map: dict[str, Any] | None = None


class StateAt(Body):
    checkpoint: CheckpointBody
    subgraphs: bool | None = None


class StateUpdateBody(Body):
    values: list[Any] | dict[str, Any] | None = None
    as_node: Name | None = None
    checkpoint: CheckpointBody | None = None
    checkpoint_id: Name | None = None


class HistorySearch(Body):
    limit: Limit = 1
    before: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: CheckpointBody | None = None


def state_routes(threads: ThreadService, states: ThreadStates) -> RouteGroup:
    routes = RouteGroup(prefix="/threads/{thread_id}", tags=["threads"])

    @routes.get("/state", name="get state")
    async def state(thread_id: ThreadId, subgraphs: bool = False) -> JSONResponse:
        """The newest state; an empty one before the first run."""
        return JSONResponse(await states.current(await threads.get(thread_id), subgraphs=subgraphs))

    @routes.post("/state", name="update state", openapi_extra=body_of(StateUpdateBody))
    async def update(thread_id: ThreadId, request: Request) -> JSONResponse:
        """Write values as a node would; at an earlier checkpoint it begins a branch. The thread must not be busy."""
        thread = await threads.get(thread_id)
        asked = await sent(request, StateUpdateBody)
        at = asked.checkpoint or CheckpointBody()
        place = await states.update(
            thread,
            {
                "values": asked.values,
                "as_node": asked.as_node,
                "checkpoint_id": at.checkpoint_id or asked.checkpoint_id,
                "checkpoint_ns": at.checkpoint_ns,
            },
        )
        place = {name: place.get(name, "") for name in ("thread_id", "checkpoint_ns", "checkpoint_id")}
        return JSONResponse({"checkpoint": place, "configurable": place, "checkpoint_id": place["checkpoint_id"]})

    @routes.post("/state/checkpoint", name="get state at", openapi_extra=body_of(StateAt))
    async def state_at(thread_id: ThreadId, request: Request) -> JSONResponse:
        thread = await threads.get(thread_id)
        asked = await sent(request, StateAt)
        at = asked.checkpoint.model_dump(exclude_none=True)
        return JSONResponse(await states.at(thread, at, subgraphs=bool(asked.subgraphs)))

    @routes.get("/state/{checkpoint_id}", name="get state of a checkpoint")
    async def state_of(thread_id: ThreadId, checkpoint_id: str, subgraphs: bool = False) -> JSONResponse:
        thread = await threads.get(thread_id)
        return JSONResponse(await states.at(thread, {"checkpoint_id": checkpoint_id}, subgraphs=subgraphs))

    @routes.post("/history", name="search history", openapi_extra=body_of(HistorySearch))
    async def search_history(thread_id: ThreadId, request: Request) -> JSONResponse:
        """States, the newest first."""
        thread = await threads.get(thread_id)
        asked = await sent(request, HistorySearch)
        at = asked.checkpoint or CheckpointBody()
        found = {
            "limit": asked.limit,
            "before": _before(asked.before),
            "metadata": asked.metadata,
            "checkpoint_ns": at.checkpoint_ns,
        }
        return JSONResponse(await states.history(thread, found))

    @routes.get("/history", name="get history")
    async def history(
        thread_id: ThreadId, limit: Annotated[int, Query(ge=1, le=1000)] = 1, before: str = ""
    ) -> JSONResponse:
        thread = await threads.get(thread_id)
        return JSONResponse(await states.history(thread, {"limit": limit, "before": before}))

    @routes.get("/storage", name="get storage", responses={200: answer(_STORAGE)})
    async def storage(thread_id: ThreadId) -> JSONResponse:
        """How much of the database the thread's memory takes, in bytes, also by channel."""
        return JSONResponse(await states.storage(await threads.get(thread_id)))

    return routes


def _before(given: dict[str, Any] | None) -> str:
    """The checkpoint's id, from both forms that clients send: a checkpoint, and a config. Raises UNPROCESSABLE."""
    within = (given or {}).get("configurable")
    named = (within if isinstance(within, dict) else given or {}).get("checkpoint_id")
    if named is not None and not isinstance(named, str):
        raise unprocessable("before: must name a checkpoint: {'checkpoint_id': ...}")
    return named or ""
