"""`/v1/keys`: make, list and revoke API keys."""

from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.answers import body_model
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import answer, body_of, object_of
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.api_keys import ApiKey, Scope
from agent_runner.status.log.log import rfc3339

_MADE = answer({"allOf": [ref("ApiKey"), object_of(key={"type": "string", "description": "shown never again"})]})
_Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]

MOST_S = 100 * 366 * 86_400.0
_RUNNER_OF_AN_ORG: dict[str, Any] = {
    "required": ["org", "scopes"],
    "properties": {"org": {"minLength": 1}, "scopes": {"contains": {"const": Scope.RUNNER.value}}},
}

_QUEUES_OF_NO_RUNNER: dict[str, Any] = {
    "required": ["queues", "scopes"],
    "properties": {"queues": {"minItems": 1}, "scopes": {"not": {"contains": {"const": Scope.RUNNER.value}}}},
}


class NewKey(BaseModel):
    """An empty `org` means all orgs, or the caller's if its key has one."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"not": {"anyOf": [_RUNNER_OF_AN_ORG, _QUEUES_OF_NO_RUNNER]}}
    )

    name: Annotated[_Text, Field(min_length=1)]
    scopes: list[Scope] = Field(min_length=1)
    org: _Text = ""
    queues: list[Annotated[_Text, Field(min_length=1)]] = Field(default_factory=list, max_length=100)
    """With the scope `runner`: the queues that it serves; without them all, or those of the key that makes it."""
    expires_in_s: float | None = Field(default=None, gt=0, le=MOST_S, allow_inf_nan=False)
    """None: as long as the key that makes it."""


def key_routes(edges: Edges) -> RouteGroup:
    routes = RouteGroup(prefix="/v1/keys", tags=["keys"])
    keys = edges.ctx.gate.keys

    @routes.post("", status_code=201, openapi_extra=body_of(NewKey), responses={201: _MADE})
    async def create_key(request: Request) -> Response:
        """A new key. `key` in the answer is the key itself: it is shown now and never again."""
        new = await body_model(request, NewKey)
        made, key = await keys.make(
            name=new.name, scopes=new.scopes, org=new.org, queues=new.queues, expires_in_s=new.expires_in_s
        )
        return JSONResponse({**_shown(made), "key": key}, status_code=201, headers={"Cache-Control": "no-store"})

    @routes.get("", responses={200: answer(object_of(keys={"type": "array", "items": ref("ApiKey")}))})
    async def list_keys() -> Response:
        """Newest first, revoked ones too."""
        return JSONResponse({"keys": [_shown(key) for key in await keys.listed()]})

    @routes.delete("/{key_id}", responses={200: answer(ref("ApiKey"))})
    async def revoke_key(key_id: str) -> Response:
        """It opens nothing any more, at the latest in 5 s on every server. Again: the same answer."""
        return JSONResponse(_shown(await keys.revoke(key_id)))

    return routes


def _shown(key: ApiKey) -> dict[str, Any]:
    times = {
        name: rfc3339(at)
        for name in ("created_at", "last_used_at", "revoked_at", "expires_at")
        if (at := getattr(key, name)) is not None
    }
    scopes = [scope.value for scope in Scope if scope in key.scopes]
    named = {"id": key.id, "name": key.name, "scopes": scopes, "org": key.org, "made_by": key.made_by}
    return {**named, "queues": sorted(key.queues), **times}
