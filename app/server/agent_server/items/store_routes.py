"""`/store`: items of the store that graphs use (`runtime.store`), of the caller's org."""

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, Field

from agent_runner.app.server.agent_server.queries.graph_questions import GraphQuestions
from agent_runner.app.server.agent_server.refusals import invalid_request, unprocessable
from agent_runner.app.server.agent_server.request_bodies import TEXT, Body, JsonObject, Name, Offset, sent
from agent_runner.app.server.contract.json_text import WHOLE
from agent_runner.app.server.http.document.schemas import body_of
from agent_runner.app.server.route_group import RouteGroup


def _no(given: bool) -> bool:
    if given:
        raise ValueError("is a list of fields, false or null")
    return given


Label = Annotated[str, Field(min_length=1, pattern=r"^[^.\x00]*$", max_length=1000)]
Labels = Annotated[list[Label], Field(max_length=100)]
Key = Annotated[str, Field(min_length=1, pattern=TEXT, max_length=1000)]
No = Annotated[bool, AfterValidator(_no), Field(json_schema_extra={"const": False})]
MOST_MINUTES = 100 * 366 * 24 * 60


class ItemPut(Body):
    namespace: Annotated[Labels, Field(json_schema_extra={"minItems": 1})]
    key: Key
    value: JsonObject
    index: No | list[Name] | None = None
    ttl: float | None = Field(default=None, gt=0, le=MOST_MINUTES, allow_inf_nan=False)


class ItemDelete(Body):
    namespace: Annotated[Labels, Field(json_schema_extra={"minItems": 1})]
    key: Key


class ItemSearch(Body):
    namespace_prefix: Labels | None = None
    filter: JsonObject | None = None
    limit: Annotated[int, Field(ge=1, le=1000), WHOLE] = 10
    offset: Offset = 0
    query: Name | None = None
    refresh_ttl: bool | None = None


class NamespaceSearch(Body):
    prefix: Labels | None = None
    suffix: Labels | None = None
    max_depth: Annotated[int, Field(ge=1, le=100), WHOLE] | None = None
    limit: Annotated[int, Field(ge=1, le=1000), WHOLE] = 100
    offset: Offset = 0


def store_routes(questions: GraphQuestions) -> RouteGroup:
    routes = RouteGroup(prefix="/store", tags=["store"])

    async def done(op: str, **asked: Any) -> Any:
        return await questions.ask("store", {"op": op, **asked})

    @routes.put("/items", name="put item", status_code=204, openapi_extra=body_of(ItemPut))
    async def put(request: Request) -> Response:
        """`index`: the fields to search by meaning, or false; `ttl` in minutes."""
        item = await sent(request, ItemPut)
        if not item.namespace:
            raise invalid_request("namespace: must have at least one label", next_step="Name where the item belongs.")
        await done("put", **item.model_dump())
        return Response(status_code=204)

    @routes.get("/items", name="get item")
    async def get(
        key: str = "", namespace: Annotated[list[str] | None, Query()] = None, refresh_ttl: bool | None = None
    ) -> JSONResponse:
        """The item, or null. The labels of the namespace are joined by dots, or repeated."""
        if not key:
            raise invalid_request("Key is required", next_step="Send `key`.")
        labels = [label for part in namespace or ("",) for label in part.split(".")]
        if not all(labels):
            raise unprocessable(
                "namespace: each label must be a non-empty text without dots", next_step="Send `namespace=a.b`."
            )
        return JSONResponse(await done("get", namespace=labels, key=key, refresh_ttl=refresh_ttl))

    @routes.delete("/items", name="delete item", status_code=204, openapi_extra=body_of(ItemDelete))
    async def delete(request: Request) -> Response:
        item = await sent(request, ItemDelete)
        if not item.namespace:
            raise invalid_request("namespace: must have at least one label", next_step="Name where the item belongs.")
        await done("delete", namespace=item.namespace, key=item.key)
        return Response(status_code=204)

    @routes.post("/items/search", name="search items", openapi_extra=body_of(ItemSearch))
    async def search(request: Request) -> JSONResponse:
        """Below a prefix, by fields (`filter`), by meaning (`query`) where the store has an index."""
        asked = await sent(request, ItemSearch)
        more = asked.model_dump(exclude={"namespace_prefix"})
        return JSONResponse({"items": await done("search", namespace=asked.namespace_prefix or [], **more)})

    @routes.post("/namespaces", name="list namespaces", openapi_extra=body_of(NamespaceSearch))
    async def namespaces(request: Request) -> JSONResponse:
        asked = await sent(request, NamespaceSearch)
        return JSONResponse({"namespaces": await done("namespaces", **asked.model_dump())})

    return routes
