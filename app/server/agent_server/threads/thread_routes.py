"""`/threads`: create, get, change, delete, search, count, copy, prune."""

from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from agent_runner.app.server.agent_server.offsets import page_answer, selected
from agent_runner.app.server.agent_server.path_ids import ThreadId, Uuid
from agent_runner.app.server.agent_server.refusals import absent, invalid_request
from agent_runner.app.server.agent_server.request_bodies import Body, JsonObject, Limit, Offset, sent
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.threads.thread_states import ThreadStates
from agent_runner.app.server.agent_server.threads.thread_view import extracted, thread_json
from agent_runner.app.server.agent_server.uuids import known_uuid, session_of
from agent_runner.app.server.http.document.schemas import body_of
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.store.registry.threads import Thread, ThreadQuery, ThreadStatus

Status = Literal["idle", "busy", "interrupted", "error"]
MOST_MINUTES = 100 * 366 * 24 * 60
Shown = Literal[
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "status", "values", "interrupts"
]


class Ttl(Body):
    ttl: float = Field(gt=0, le=MOST_MINUTES, description="minutes", allow_inf_nan=False)
    strategy: Literal["delete", "keep_latest"] = "delete"


class Superstep(Body):
    updates: list[dict[str, Any]]


class ThreadCreate(Body):
    thread_id: Uuid | None = None
    metadata: JsonObject | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    ttl: Ttl | None = None
    supersteps: list[Superstep] | None = None


class ThreadPatch(Body):
    metadata: JsonObject | None = None
    ttl: Ttl | None = None


class ThreadCount(Body):
    metadata: JsonObject | None = None
    values: JsonObject | None = None
    status: Status | None = None


class ThreadSearch(ThreadCount):
    ids: list[Uuid] | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[Shown] | None = None
    extract: dict[str, str] | None = None


class ThreadPrune(Body):
    thread_ids: Annotated[list[Uuid], Field(max_length=1000)]
    strategy: Literal["delete", "keep_latest"] = "delete"


class ThreadHandlers:
    def __init__(self, threads: ThreadService, states: ThreadStates) -> None:
        self._threads = threads
        self._states = states

    async def shown(self, thread: Thread, *, with_ttl: bool = False) -> dict[str, Any]:
        known = await self._states.known([thread])
        failure = await self._states.failure(thread)
        return thread_json(thread, known[thread.session_id], failure=failure, with_ttl=with_ttl)

    async def create(self, request: Request) -> JSONResponse:
        """`supersteps` write a first state, one after the other; the metadata names the graph (`graph_id`)."""
        new = await sent(request, ThreadCreate)
        thread = await self._threads.create(
            None if new.thread_id is None else known_uuid(new.thread_id, "thread_id"),
            metadata=new.metadata,
            ttl=new.ttl.model_dump() if new.ttl else None,
            or_existing=new.if_exists == "do_nothing",
        )
        if new.supersteps and not thread.head_checkpoint_id:
            try:
                await self._states.update(thread, {"supersteps": [step.updates for step in new.supersteps]})
            except Problem:
                await self._threads.delete(thread)
                raise
            thread = await self._threads.again(thread)
        return JSONResponse(await self.shown(thread, with_ttl=new.ttl is not None))

    async def search(self, request: Request) -> JSONResponse:
        """The last changed first, unless another order is asked for."""
        asked = await sent(request, ThreadSearch)
        query = ThreadQuery(
            ids=None if asked.ids is None else [session_of(id) for id in asked.ids],
            metadata=asked.metadata or {},
            values=asked.values or {},
            status=ThreadStatus(asked.status) if asked.status else None,
            limit=asked.limit,
            offset=asked.offset,
            sort_by=asked.sort_by or "updated_at",
            ascending=asked.sort_order == "asc",
        )
        if query.values:
            await self._states.learn(self._threads, query)
        found, total = await self._threads.search(query)
        wants_state = not asked.select or bool({"values", "interrupts"} & set(asked.select)) or bool(asked.extract)
        known = await self._states.known(found) if wants_state else {}
        listed = []
        for thread in found:
            failure = await self._states.failure(thread)
            whole = thread_json(thread, known.get(thread.session_id), failure=failure)
            one = selected(whole, asked.select)
            if asked.extract:
                one = dict(one)
                one["extracted"] = {alias: extracted(whole, path) for alias, path in asked.extract.items()}
            listed.append(one)
        return page_answer(listed, offset=asked.offset, limit=asked.limit, total=total)

    async def count(self, request: Request) -> JSONResponse:
        asked = await sent(request, ThreadCount)
        status = ThreadStatus(asked.status) if asked.status else None
        query = ThreadQuery(metadata=asked.metadata or {}, values=asked.values or {}, status=status)
        if query.values:
            await self._states.learn(self._threads, query)
        return JSONResponse(await self._threads.count(query))

    async def prune(self, request: Request) -> JSONResponse:
        """`delete` removes the threads, `keep_latest` all of their checkpoints but the newest. Unknown ids are left."""
        asked = await sent(request, ThreadPrune)
        pruned = 0
        for id in dict.fromkeys(asked.thread_ids):
            thread = await self._threads.find(id)
            if thread is None:
                continue
            await (self._threads.delete(thread) if asked.strategy == "delete" else self._threads.keep_latest(thread))
            pruned += 1
        return JSONResponse({"pruned_count": pruned})

    async def get(self, thread_id: ThreadId, include: str = "") -> JSONResponse:
        thread = await self._threads.get(thread_id)
        return JSONResponse(await self.shown(thread, with_ttl="ttl" in include.split(",")))

    async def patch(self, thread_id: ThreadId, request: Request) -> Response:
        """Merges metadata, key by key."""
        asked = await sent(request, ThreadPatch)
        ttl = asked.ttl.model_dump() if asked.ttl else None
        thread = await self._threads.change(await self._threads.get(thread_id), metadata=asked.metadata, ttl=ttl)
        if "return=minimal" in request.headers.get("prefer", ""):
            return Response(status_code=204)
        return JSONResponse(await self.shown(thread, with_ttl=ttl is not None))

    async def delete(self, thread_id: ThreadId) -> Response:
        """Its runs are cancelled, and removed with it."""
        await self._threads.delete(await self._threads.get(thread_id))
        return Response(status_code=204)

    async def copy(self, thread_id: ThreadId) -> JSONResponse:
        """A new thread with the same metadata and the same memory, without the runs."""
        thread = await self._threads.find(thread_id)
        if thread is None:
            known = absent("Thread", thread_id)
            raise Problem(Kind.CONFLICT, known.detail, next_step=known.next_step)
        if thread.status is ThreadStatus.BUSY and not thread.head_checkpoint_id:
            raise invalid_request("the thread has no state yet", next_step="Copy it when its first run has ended.")
        copied = await self._threads.create(
            metadata={**graph_metadata(thread), **thread.metadata}, config=thread.config
        )
        try:
            await self._states.copy(thread, copied)
        except Problem:
            await self._threads.delete(copied)
            raise
        return JSONResponse(await self.shown(await self._threads.again(copied)))


def thread_routes(threads: ThreadService, states: ThreadStates) -> RouteGroup:
    routes = RouteGroup(prefix="/threads", tags=["threads"])
    handlers = ThreadHandlers(threads, states)
    minimal: dict[int | str, dict[str, Any]] = {204: {"description": "with `Prefer: return=minimal`"}}
    routes.post("", name="create thread", openapi_extra=body_of(ThreadCreate))(handlers.create)
    routes.post("/search", name="search threads", openapi_extra=body_of(ThreadSearch))(handlers.search)
    routes.post("/count", name="count threads", openapi_extra=body_of(ThreadCount))(handlers.count)
    routes.post("/prune", name="prune threads", openapi_extra=body_of(ThreadPrune))(handlers.prune)
    routes.get("/{thread_id}", name="get thread")(handlers.get)
    routes.patch(
        "/{thread_id}",
        name="change thread",
        openapi_extra=body_of(ThreadPatch),
        responses=minimal,
    )(handlers.patch)
    routes.delete("/{thread_id}", name="delete thread", status_code=204)(handlers.delete)
    routes.post("/{thread_id}/copy", name="copy thread")(handlers.copy)
    return routes


def graph_metadata(thread: Thread) -> dict[str, Any]:
    whole = thread_json(thread)["metadata"]
    return {name: whole[name] for name in ("graph_id", "assistant_id") if name in whole}
