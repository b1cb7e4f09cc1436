"""Skills: pushed as archives, kept by their hash, found by version.

A skill that is written as text instead (`spec.skill_md`) is an archive with that one file. An answer is the contract's
Skill, in the newest version unless another one was asked for.
"""

from copy import deepcopy

from google.protobuf.message import Message

from agent_runner.ai.stigmer.agentic.skill.v1.io_pb2 import PushSkillRequest
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import ApiResourceOwnerScope
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.app.server.executions.view import API_VERSION, as_json
from agent_runner.app.server.problems import not_found
from agent_runner.app.server.resources.archives import DEFINITION, Artifacts, of_text, read
from agent_runner.app.server.resources.resource_bodies import Json, checked, new_body, parsed
from agent_runner.app.server.resources.resource_service import Resources
from agent_runner.app.server.resources.sealing import Sealing
from agent_runner.clients.skills.archive import SkillArchive
from agent_runner.status.log.log import rfc3339
from agent_runner.status.store.errors import SlugTaken, StaleVersion
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.registry.skill_records import SkillVersion

TRIES = 10
"""Pushes to one skill at the same time are applied one after the other."""


class Skills:
    def __init__(self, artifacts: Artifacts, sealing: Sealing, resources: Resources) -> None:
        self._artifacts = artifacts
        self._sealing = sealing
        self._resources = resources

    async def push(self, request: PushSkillRequest) -> Json:
        """A new version; the first one makes the skill. The same archive again is the same version."""
        archive = await read(request.artifact)
        scope = ApiResourceOwnerScope.Name(request.scope or ApiResourceOwnerScope.organization)
        given = {
            "api_version": API_VERSION,
            "kind": ResourceKind.SKILL.value,
            "metadata": {"name": request.name, "org": request.org, "owner_scope": scope},
            "spec": {"skill_md": archive.skill_md, "tag": request.tag},
        }
        return await self._store(parsed(ResourceKind.SKILL, given), archive, keep_metadata=True)

    async def create(self, message: Message) -> Json:
        """Creates a skill from its text. Raises `SlugTaken` for an existing name, ALREADY_EXISTS for an existing id."""
        given = as_json(message)
        await self._resources.must_be_new(checked(message), given)
        return await self._put(given, await of_text(_text(given)), None)

    async def apply(self, message: Message) -> Json:
        """Replaces labels, annotations and tags. A changed text becomes a new version, without the other files."""
        return await self._store(message, None)

    async def update(self, message: Message) -> Json:
        """`apply` to a skill that must exist. Raises NOT_FOUND."""
        return await self._store(message, None, must_exist=True)

    async def get_by_reference(self, reference: ApiResourceReference) -> Json:
        skill = await self._resources.referenced(ResourceKind.SKILL, reference)
        return await self.shown(skill, reference.version)

    async def shown(self, skill: Resource, version: str = "") -> Json:
        """The skill as it is in that version (`latest`, a tag or a hash). Raises NOT_FOUND."""
        found = await self._artifacts.version(skill, version)
        skill = await self._resources.stored(ResourceKind.SKILL, skill.id)
        return _as_of(await self._resources.shown(skill), found)

    async def artifact(self, key: str) -> bytes:
        """An archive by its key, for those who may read its skill. Raises NOT_FOUND."""
        skill_id, archive = await self._artifacts.get(key)
        await self._resources.stored(ResourceKind.SKILL, skill_id)
        return archive

    async def archive(self, skill: Resource, version: str = "") -> bytes:
        """The archive of one version. Raises NOT_FOUND."""
        found = await self._artifacts.version(skill, version)
        return (await self._artifacts.get(found.artifact_key))[1]

    async def _store(
        self,
        message: Message,
        archive: SkillArchive | None,
        *,
        keep_metadata: bool = False,
        must_exist: bool = False,
    ) -> Json:
        checked(message)
        for left in reversed(range(TRIES)):
            given = as_json(message)
            before = await self._resources.named_in(DEFINITION, given)
            if before is None and must_exist:
                metadata = given.get("metadata", {})
                raise not_found("Skill", metadata.get("id") or metadata.get("slug") or metadata.get("name", ""))
            if before is not None and keep_metadata:
                given["metadata"] = deepcopy(before.body["metadata"])
            try:
                return await self._put(given, archive or await self._of(given, before), before)
            except (SlugTaken, StaleVersion):
                if not left:
                    raise
        raise AssertionError("unreachable")

    async def _of(self, given: Json, before: Resource | None) -> SkillArchive:
        """The existing archive if the text did not change, so that its other files stay; else one of the new text."""
        if before is not None and _text(before.body) == _text(given):
            return await read(await self.archive(before))
        return await of_text(_text(given))

    async def _put(self, given: Json, archive: SkillArchive, before: Resource | None) -> Json:
        body = new_body(self._sealing, DEFINITION, given, before=before)
        return await self._resources.shown(await self._artifacts.put(body, archive, before))


def _text(skill: Json) -> str:
    return str(skill.get("spec", {}).get("skill_md", ""))


def _as_of(body: Json, version: SkillVersion) -> Json:
    """Changes `body`, which shows the latest version, to this version."""
    if body["status"].get("version_hash") == version.version_hash:
        return body
    at = rfc3339(version.created_at)
    body["spec"] = {"skill_md": version.skill_md} | ({"tag": version.tag} if version.tag else {})
    body["status"] |= {"version_hash": version.version_hash, "artifact_storage_key": version.artifact_key}
    body["status"]["audit"] = {"spec_audit": {"created_at": at, "updated_at": at, "event": "created"}}
    return body
