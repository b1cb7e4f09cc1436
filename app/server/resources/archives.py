"""Stores the archives of skills. No other module knows where they are.

They are in the database, which is all that the replicas of a server share. A key is opaque: it is only looked up. Every
version stays as it was pushed. `latest` is the version that the skill itself shows.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy

from agent_runner.ai.stigmer.agentic.skill.v1.status_pb2 import SkillState
from agent_runner.app.server.access.principal import SERVER, acting_as
from agent_runner.app.server.problems import Kind, Problem, invalid, not_found
from agent_runner.app.server.resources.resource_bodies import Json, record_of
from agent_runner.app.server.resources.resource_kinds import DEFINITIONS
from agent_runner.clients.skills.archive import SkillArchive, SkillArchiveError, pack, read_archive, read_skill_md
from agent_runner.status.store.errors import StaleVersion
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.registry.skill_records import SkillVersion
from agent_runner.status.store.store import Store

LATEST = "latest"
READY = SkillState.Name(SkillState.SKILL_STATE_READY)
DEFINITION = DEFINITIONS[ResourceKind.SKILL]


async def read(data: bytes) -> SkillArchive:
    """Checks an archive, in a thread: the largest one takes a second. Raises INVALID_ARGUMENT."""
    try:
        return await asyncio.to_thread(read_archive, data)
    except SkillArchiveError as error:
        raise invalid(
            f"artifact: {error}", next_step="Pack the skill's folder again and send the new archive."
        ) from None


async def of_text(skill_md: str) -> SkillArchive:
    """The archive of a skill that has only a SKILL.md."""
    return await read(pack(skill_md))


class Artifacts:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, key: str) -> tuple[str, bytes]:
        """(the id of its skill, the archive). Raises NOT_FOUND."""
        found = await self._store.skill_artifact(key)
        if found is None:
            raise not_found("artifact", key[:100])
        return found

    async def put(self, body: Json, archive: SkillArchive, before: Resource | None) -> Resource:
        """Store the skill `body` with this archive as its newest version. Raises `SlugTaken` or `StaleVersion`."""
        skill_id, tag = body["metadata"]["id"], body["spec"].get("tag", "")
        if _is_hash(tag):
            raise invalid("tag: must not look like the hash of a version")
        version = SkillVersion(
            skill_id=skill_id,
            version_hash=archive.version_hash,
            artifact_key=_key(skill_id, archive.version_hash),
            tag="" if tag == LATEST else tag,
            skill_md=archive.skill_md,
            created_at=time.time(),
            front={"name": archive.text.name, "description": archive.text.description},
        )
        body["status"] |= {
            "version_hash": version.version_hash,
            "artifact_storage_key": version.artifact_key,
            "state": READY,
        }
        return await self._store.push_skill(
            record_of(DEFINITION, body, before),
            version,
            archive.data,
            expect_version=before.version if before else None,
        )

    async def version(self, skill: Resource, name: str = "") -> SkillVersion:
        """`latest` (also the empty name), a tag, or a hash. Raises NOT_FOUND."""
        if name in ("", LATEST):
            name = skill.body.get("status", {}).get("version_hash") or await self._first(skill)
        version = await self._store.skill_version(skill.id, name)
        if version is None:
            tags = ", ".join(await self._store.skill_tags(skill.id)) or "none"
            raise Problem(
                Kind.NOT_FOUND,
                f"Skill '{skill.slug}' has no version '{name}'",
                next_step=f"Its tags are: {tags}. Leave the version out for the latest.",
            )
        return version

    async def front(self, version: SkillVersion) -> Mapping[str, str]:
        """`name` and `description` in the front matter of the version, stored when it was pushed; or `error`.

        For an older version, without a stored front matter, the text is read here once. Today's checks may refuse it.
        """
        if version.front is not None:
            return version.front
        front = await asyncio.to_thread(_front_of, version.skill_md)
        await self._store.keep_skill_front(version.skill_id, version.version_hash, front)
        return front

    async def _first(self, skill: Resource) -> str:
        """Makes an archive from the text of a skill that is older than archives. Returns the hash of that version."""
        archive = await of_text(skill.body.get("spec", {}).get("skill_md", ""))
        with acting_as(SERVER), suppress(StaleVersion):  # another request has just done the same, or has pushed
            await self.put({**deepcopy(skill.body), "status": dict(skill.body.get("status", {}))}, archive, skill)
        return archive.version_hash


def _front_of(skill_md: str) -> dict[str, str]:
    try:
        text = read_skill_md(skill_md)
    except SkillArchiveError as error:
        return {"error": str(error)}
    return {"name": text.name, "description": text.description}


def _key(skill_id: str, version_hash: str) -> str:
    """The same archive of the same skill has the same key.

    A caller who cannot read the skill does not know its id (a ULID), and so cannot guess the key.
    """
    return hashlib.sha256(f"{skill_id}\n{version_hash}".encode()).hexdigest()


def _is_hash(tag: str) -> bool:
    return len(tag) == 64 and not set(tag) - set("0123456789abcdef")
