"""The contract's resources besides executions: agents, instances, sessions, skills, environments, contexts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from agent_runner.status.brief import brief_body
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.ready import Ready
from agent_runner.status.store.driver.transaction import SHORT_BYTES, Connection
from agent_runner.status.store.errors import SlugTaken, StaleVersion
from agent_runner.status.store.executions.retention import disuse
from agent_runner.status.store.executions.tags import replace_resource_tags, resources_with
from agent_runner.status.store.lists.queries import ResourcePage, ResourceQuery, View
from agent_runner.status.store.paging import COUNTED, fitting, inside, key_of, size_of, token_of
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.rows import dumps, to_resource
from agent_runner.status.store.schema import resources, skill_artifacts, skill_tags, threads
from agent_runner.status.store.statements.named import resource_by_id, resource_by_slug
from agent_runner.status.store.verbs import Orgs, reads, writes

R = resources.c
NEW = Ready(
    insert(resources).returning(resources),
    columns=("kind", "id", "version", "org", "slug", "parent_id", "created_at", "body"),
)
MAX_READ_BYTES = 4 << 20
"""The most bytes of bodies that are read for one page of short entries."""


class Resources(Transactions):
    @writes(orgs=Orgs.WRITES, short=True)
    def put_resource(
        self, connection: Connection, resource: Resource, *, expect_version: int | None = None
    ) -> Resource:
        """Create (`expect_version` None) or replace the version that was read. Returns the stored resource.

        Raises `SlugTaken` or `StaleVersion`.
        """
        return self.put_in(connection, resource, expect_version)

    def put_in(self, connection: Connection, resource: Resource, expect_version: int | None) -> Resource:
        """`put_resource` as a part of a larger transaction."""
        values: dict[str, Any] = {
            "org": resource.org,
            "slug": resource.slug,
            "parent_id": resource.parent_id,
            "created_at": resource.created_at,
            "body": dumps(resource.body),
        }
        if len(values["body"]) > SHORT_BYTES:
            connection.may_last()
        try:
            if expect_version is None:
                row = connection.one(NEW, kind=resource.kind.value, id=resource.id, version=1, **values)
            else:
                mine = (R.kind == resource.kind.value, R.id == resource.id, R.version == expect_version)
                changed = update(resources).where(*mine)
                found = connection.execute(changed.values(version=R.version + 1, **values).returning(resources))
                row = found.one_or_none()
        except IntegrityError as error:
            raise SlugTaken(f"{resource.kind.value} {resource.slug!r} exists in org {resource.org!r}") from error
        if row is None:
            raise StaleVersion(f"{resource.kind.value} {resource.id} was changed in between; read it again")
        replace_resource_tags(
            connection, resource.kind.value, resource.id, resource.body, is_new=expect_version is None
        )
        return to_resource(row)

    @reads(orgs=Orgs.FINDS, alone=True, short=True)
    def get_resource(self, connection: Connection, kind: ResourceKind, id: str) -> Resource | None:
        row = connection.one(resource_by_id(), its_kind=kind.value, its_id=id)
        return to_resource(row) if row else None

    @reads(orgs=Orgs.FINDS, alone=True, short=True)
    def find_resource(self, connection: Connection, kind: ResourceKind, org: str, slug: str) -> Resource | None:
        row = connection.one(resource_by_slug(), its_kind=kind.value, its_org=org, its_slug=slug)
        return to_resource(row) if row else None

    @reads(orgs=Orgs.QUERY)
    def list_resources(self, connection: Connection, query: ResourceQuery) -> ResourcePage:
        """Newest first: ids are ULIDs, which sort by time. Raises `ValueError` for a page token that is not ours."""
        kind = query.kind.value
        chosen = resources_with(kind, query.tags)
        given = [*chosen.conditions]
        if query.org:
            given.append(R.org == query.org)
        if query.orgs:
            given.append(R.org.in_(query.orgs))
        if query.parent_id:
            given.append(R.parent_id == query.parent_id)
        if query.grandparent:
            of_kind, id = query.grandparent
            parents = resources.alias("parents").c
            related = [parents.kind == of_kind.value, parents.parent_id == id]
            if query.orgs:
                related.append(parents.org.in_(query.orgs))
            given.append(R.parent_id.in_(select(parents.id).where(*related)))
        size, view, max_bytes = size_of(query.page_size), query.view, query.max_bytes
        before = [chosen.key < key_of(kind, query.page_token)] if query.page_token else []
        weighed = select(R.id, func.length(R.body).label("weight")).select_from(chosen.source)
        newest = weighed.where(*given, *before).order_by(chosen.key.desc())
        counted = select(chosen.key).select_from(chosen.source).where(*given).limit(COUNTED).subquery()
        total = connection.scalar(select(func.count()).select_from(counted)) or 0
        rows = connection.execute(newest.offset((max(1, query.page) - 1) * size).limit(size + 1)).all()
        ids, fits = [row.id for row in rows[:size]], [True] * size
        if view is View.FITTING:
            fits = inside((row.weight for row in rows), max_bytes)
        elif max_bytes is not None:
            most = MAX_READ_BYTES if view is View.BRIEF else max_bytes
            ids = ids[: fitting((row.weight for row in rows), most)]
        whole = [id for id, fit in zip(ids, fits, strict=False) if fit]
        bodies = {r.id: r for r in self._read(connection, kind, whole)}
        for id in ids:  # one at a time: a body that does not fit may be large
            if id not in bodies:
                bodies |= {r.id: _brief(r) for r in self._read(connection, kind, [id])}
        found = [bodies[id] for id in ids if id in bodies]
        if view is View.BRIEF:
            found = [_brief(resource) for resource in found]
            if max_bytes is not None:
                found = found[: fitting((len(dumps(resource.body)) for resource in found), max_bytes)]
        return ResourcePage(
            resources=found,
            next_token=token_of(kind, found[-1].id) if len(rows) > len(found) else "",
            total=total,
            page_size=size,
        )

    def _read(self, connection: Connection, kind: str, ids: Sequence[str]) -> list[Resource]:
        if not ids:
            return []
        query = select(resources).where(R.kind == kind, R.id.in_(ids))
        return [to_resource(row) for row in connection.execute(query)]

    @writes(orgs=Orgs.RESOURCE)
    def delete_resource(self, connection: Connection, kind: ResourceKind, id: str) -> Resource | None:
        """Returns the deleted resource; None when there is none. A skill is deleted with all its versions. Retention
        removes a session's sandbox and memory later."""
        statement = delete(resources).where(R.kind == kind.value, R.id == id).returning(resources)
        row = connection.execute(statement).one_or_none()
        if row is not None and kind is ResourceKind.SESSION:
            disuse(connection, id)
            connection.execute(delete(threads).where(threads.c.session_id == id))
        if row is not None and kind is ResourceKind.SKILL:
            connection.execute(delete(skill_artifacts).where(skill_artifacts.c.skill_id == id))
            connection.execute(delete(skill_tags).where(skill_tags.c.skill_id == id))
        return to_resource(row) if row else None


def _brief(resource: Resource) -> Resource:
    return replace(resource, body=brief_body(resource.body))
