"""`/v1/skills`: the routes that only skills have, for archives and versions."""

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response

from agent_runner.ai.stigmer.agentic.skill.v1.io_pb2 import PushSkillRequest
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import ApiResourceOwnerScope
from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.contract.rules import TAG, validate
from agent_runner.app.server.contract.texts import MAX_INDEXED, unfit_texts
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.answers import body_bytes, body_object
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import answer, body_of
from agent_runner.app.server.problems import invalid, violated
from agent_runner.app.server.resources.resource_bodies import parsed
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.clients.skills.archive import MAX_ARCHIVE_BYTES
from agent_runner.status.store.records import ResourceKind

ZIP = "application/zip"
_BODY: dict[str, Any] = body_of(ref("SkillInput"))
_BODY["requestBody"]["content"][ZIP] = {
    "schema": {"type": "string", "format": "binary", "description": "an archive with SKILL.md at its root"}
}

_SHOWN = answer(ref(ResourceKind.SKILL.value))
TagName = Annotated[str, Query(pattern=TAG.expression, max_length=MAX_INDEXED)]
ScopeName = Annotated[str, Query(json_schema_extra={"enum": ["", *ApiResourceOwnerScope.keys()]})]


def skill_routes(edges: Edges) -> RouteGroup:
    resources, skills, kind = edges.resources, edges.skills, ResourceKind.SKILL
    routes = RouteGroup(prefix="/v1/skills", tags=["skills"])

    @routes.post("", status_code=201, name="create Skill", openapi_extra=_BODY, responses={201: _SHOWN})
    async def create(
        request: Request, name: str = "", org: str = "", scope: ScopeName = "", tag: TagName = ""
    ) -> Response:
        """A skill from its text (JSON), or a new version from its archive (application/zip). `name` (required), `org`,
        `scope` (`organization` or `platform`) and `tag` belong to an archive."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != ZIP:
            return JSONResponse(await skills.create(parsed(kind, await body_object(request))), status_code=201)
        push = PushSkillRequest(name=name, org=org, scope=_scope(scope), tag=tag)
        push.artifact = await body_bytes(request, MAX_ARCHIVE_BYTES)
        if violations := [*validate(push), *unfit_texts(push)]:
            raise violated(violations)
        return JSONResponse(await skills.push(push), status_code=201)

    @routes.get("/{name}", name="get Skill", responses={200: _SHOWN})
    async def get(name: str, org: str = "", version: str = "") -> Response:
        """By id, or by slug in the org; `version` is a tag or a hash, the latest without it."""
        return JSONResponse(await skills.shown(await resources.named(kind, org or default_org(), name), version))

    @routes.get(
        "/{name}/archive",
        name="get the archive of a Skill",
        response_class=Response,
        responses={200: {"content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def archive(name: str, org: str = "", version: str = "") -> Response:
        """The archive as it was pushed."""
        skill = await resources.named(kind, org or default_org(), name)
        headers = {"Content-Disposition": f'attachment; filename="{skill.slug}.zip"'}
        return Response(await skills.archive(skill, version), media_type=ZIP, headers=headers)

    return routes


def _scope(name: str) -> ApiResourceOwnerScope.ValueType:
    """`organization` for an empty name. Raises INVALID_ARGUMENT."""
    try:
        return ApiResourceOwnerScope.Value(name or "organization")
    except ValueError:
        raise invalid(f"scope: {name!r} is neither 'organization' nor 'platform'") from None
