"""The versions of skills: each archive once per skill, by its hash; tags that point to one of them."""

import json
from collections.abc import Mapping

from sqlalchemy import delete, insert, select, update

from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.records import Resource
from agent_runner.status.store.registry.resources import Resources
from agent_runner.status.store.registry.skill_records import SkillVersion
from agent_runner.status.store.rows import dumps
from agent_runner.status.store.schema import skill_artifacts, skill_tags
from agent_runner.status.store.verbs import Orgs, reads, writes

A = skill_artifacts.c
T = skill_tags.c


class Skills(Resources):
    @writes(orgs=Orgs.WRITES)
    def push_skill(
        self,
        connection: Connection,
        skill: Resource,
        version: SkillVersion,
        archive: bytes,
        *,
        expect_version: int | None = None,
    ) -> Resource:
        """Store the skill and its newest version, in one transaction. A version that exists already stays as it is.

        A tag that pointed to another version moves. Raises `SlugTaken` or `StaleVersion`.
        """
        values = {name: getattr(version, name) for name in ("skill_id", "version_hash")}
        # The skill's row first: another push to the same skill waits here.
        stored = self.put_in(connection, skill, expect_version)
        there = select(A.version_hash).where(A.skill_id == version.skill_id, A.version_hash == version.version_hash)
        if connection.scalar(there) is None:
            rest = {name: getattr(version, name) for name in ("artifact_key", "skill_md", "created_at")}
            front = None if version.front is None else dumps(version.front)
            connection.execute(insert(skill_artifacts).values(**values, **rest, content=archive, front=front))
        if version.tag:
            tagged = (T.skill_id == version.skill_id, T.tag == version.tag)
            connection.execute(delete(skill_tags).where(*tagged))
            connection.execute(insert(skill_tags).values(**values, tag=version.tag))
        return stored

    @reads(orgs=Orgs.AFTER_A_READ)
    def skill_version(self, connection: Connection, skill_id: str, name: str) -> SkillVersion | None:
        """The version with this hash, or the one that this tag points to."""
        tagged = select(T.tag, T.version_hash).where(T.skill_id == skill_id)
        tag = connection.execute(tagged.where(T.tag == name)).one_or_none()
        version_hash = tag.version_hash if tag else name
        found = select(A.version_hash, A.artifact_key, A.skill_md, A.created_at, A.front)
        row = connection.execute(found.where(A.skill_id == skill_id, A.version_hash == version_hash)).one_or_none()
        tags = connection.execute(tagged.where(T.version_hash == version_hash).order_by(T.tag)).all()
        if row is None:
            return None
        return SkillVersion(
            skill_id=skill_id,
            version_hash=row.version_hash,
            artifact_key=row.artifact_key,
            tag=tag.tag if tag else next((other.tag for other in tags), ""),
            skill_md=row.skill_md,
            created_at=row.created_at,
            front=json.loads(row.front) if row.front else None,
        )

    @writes
    def keep_skill_front(
        self, connection: Connection, skill_id: str, version_hash: str, front: Mapping[str, str]
    ) -> None:
        """Store the front matter of a version that was pushed before this field existed."""
        mine = (A.skill_id == skill_id, A.version_hash == version_hash, A.front.is_(None))
        connection.execute(update(skill_artifacts).where(*mine).values(front=dumps(front)))

    @reads(orgs=Orgs.AFTER_A_READ)
    def skill_tags(self, connection: Connection, skill_id: str) -> dict[str, str]:
        """Tag -> hash of the version that it points to."""
        rows = connection.execute(select(T.tag, T.version_hash).where(T.skill_id == skill_id).order_by(T.tag))
        return {row.tag: row.version_hash for row in rows}

    @reads(orgs=Orgs.AFTER_A_READ)
    def skill_artifact(self, connection: Connection, artifact_key: str) -> tuple[str, bytes] | None:
        """(the id of its skill, the archive)."""
        statement = select(A.skill_id, A.content).where(A.artifact_key == artifact_key)
        row = connection.execute(statement).one_or_none()
        return (row.skill_id, bytes(row.content)) if row else None
