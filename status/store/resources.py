"""The contract's resources besides executions: agents, instances, sessions, skills, environments, contexts."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from status.brief import brief_body
from status.store.connection import Transactions
from status.store.ending import dumps
from status.store.errors import SlugTaken, StaleVersion
from status.store.paging import COUNTED, fitting, inside, key_of, size_of, token_of
from status.store.records import Resource, ResourceKind, ResourcePage, View
from status.store.retention import disuse
from status.store.rows import to_resource
from status.store.schema import resources, skill_artifacts, skill_tags
from status.store.tags import replace_resource_tags, resources_with
from status.store.verbs import verb

R = resources.c
MAX_READ_BYTES = 4 << 20
"""Of bodies that are read to show a page of a few words of each."""


class Resources(Transactions):
    @verb
    async def put_resource(self, resource: Resource, *, expect_version: int | None = None) -> Resource:
        """Create (`expect_version` None) or replace the version that was read. Gives what is stored.

        Raises `SlugTaken` or `StaleVersion`.
        """
        async with self.write() as connection:
            return await self.put_in(connection, resource, expect_version)

    async def put_in(self, connection: AsyncConnection, resource: Resource, expect_version: int | None) -> Resource:
        """`put_resource` as a part of a larger transaction."""
        values = {
            "org": resource.org,
            "slug": resource.slug,
            "parent_id": resource.parent_id,
            "created_at": resource.created_at,
            "body": dumps(resource.body),
        }
        mine = (R.kind == resource.kind.value, R.id == resource.id)
        try:
            if expect_version is None:
                statement = insert(resources).values(kind=resource.kind.value, id=resource.id, version=1, **values)
                row = (await connection.execute(statement.returning(resources))).one()
            else:
                changed = update(resources).where(*mine, R.version == expect_version)
                found = await connection.execute(changed.values(version=R.version + 1, **values).returning(resources))
                row = found.one_or_none()
        except IntegrityError as error:
            raise SlugTaken(f"{resource.kind.value} {resource.slug!r} exists in org {resource.org!r}") from error
        if row is None:
            raise StaleVersion(f"{resource.kind.value} {resource.id} was changed in between; read it again")
        await replace_resource_tags(
            connection, resource.kind.value, resource.id, resource.body, is_new=expect_version is None
        )
        return to_resource(row)

    @verb
    async def get_resource(self, kind: ResourceKind, id: str) -> Resource | None:
        return await self._one(R.kind == kind.value, R.id == id)

    @verb
    async def find_resource(self, kind: ResourceKind, org: str, slug: str) -> Resource | None:
        return await self._one(R.kind == kind.value, R.org == org, R.slug == slug)

    async def _one(self, *conditions: ColumnElement[bool]) -> Resource | None:
        async with self.read() as connection:
            row = (await connection.execute(select(resources).where(*conditions))).one_or_none()
        return to_resource(row) if row else None

    @verb
    async def list_resources(
        self,
        kind: ResourceKind,
        *,
        org: str = "",
        orgs: Sequence[str] = (),
        parent_id: str = "",
        grandparent: tuple[ResourceKind, str] | None = None,
        tags: Sequence[str] = (),
        page_size: int = 0,
        page_token: str = "",
        page: int = 1,
        view: View = View.FULL,
        max_bytes: int | None = None,
    ) -> ResourcePage:
        """Newest first: ids are ULIDs, which sort by time. `page`: counted from 1, from the token or the newest.
        `max_bytes`: up to the one that begins below it, and the token goes on after that one; see `View`.

        `orgs`: of any of these, where the empty string is the platform; without it of all. `grandparent`: the parents'
        kind, and the id that these belong to. `tags`: all of them. Raises `ValueError` for a token that is not ours.
        """
        chosen = resources_with(kind.value, tags)
        given = [*chosen.conditions]
        if org:
            given.append(R.org == org)
        if orgs:
            given.append(R.org.in_(orgs))
        if parent_id:
            given.append(R.parent_id == parent_id)
        if grandparent:
            parents = resources.alias("parents").c
            related = [parents.kind == grandparent[0].value, parents.parent_id == grandparent[1]]
            if orgs:
                related.append(parents.org.in_(orgs))
            given.append(R.parent_id.in_(select(parents.id).where(*related)))
        size = size_of(page_size)
        before = [chosen.key < key_of(kind.value, page_token)] if page_token else []
        weighed = select(R.id, func.length(R.body).label("weight")).select_from(chosen.source)
        query = weighed.where(*given, *before).order_by(chosen.key.desc())
        counted = select(chosen.key).select_from(chosen.source).where(*given).limit(COUNTED).subquery()
        async with self.read() as connection:
            total = await connection.scalar(select(func.count()).select_from(counted)) or 0
            rows = (await connection.execute(query.offset((max(1, page) - 1) * size).limit(size + 1))).all()
            ids, fits = [row.id for row in rows[:size]], [True] * size
            if view is View.FITTING:
                fits = inside((row.weight for row in rows), max_bytes)
            elif max_bytes is not None:
                most = MAX_READ_BYTES if view is View.BRIEF else max_bytes
                ids = ids[: fitting((row.weight for row in rows), most)]
            whole = [id for id, fit in zip(ids, fits, strict=False) if fit]
            bodies = {r.id: r for r in await self._read(connection, kind, whole)}
            for id in ids:  # one at a time: what does not fit may be large
                if id not in bodies:
                    bodies |= {r.id: _brief(r) for r in await self._read(connection, kind, [id])}
        found = [bodies[id] for id in ids if id in bodies]
        if view is View.BRIEF:
            found = [_brief(resource) for resource in found]
            if max_bytes is not None:
                found = found[: fitting((len(dumps(resource.body)) for resource in found), max_bytes)]
        return ResourcePage(
            resources=found,
            next_token=token_of(kind.value, found[-1].id) if len(rows) > len(found) else "",
            total=total,
            page_size=size,
        )

    async def _read(self, connection: AsyncConnection, kind: ResourceKind, ids: Sequence[str]) -> list[Resource]:
        if not ids:
            return []
        query = select(resources).where(R.kind == kind.value, R.id.in_(ids))
        return [to_resource(row) for row in await connection.execute(query)]

    @verb
    async def delete_resource(self, kind: ResourceKind, id: str) -> Resource | None:
        """The resource as it was; None when there is none. A skill goes with all its versions, a session's sandbox and
        memory are for retention to take."""
        statement = delete(resources).where(R.kind == kind.value, R.id == id).returning(resources)
        async with self.write() as connection:
            row = (await connection.execute(statement)).one_or_none()
            if row is not None and kind is ResourceKind.SESSION:
                await disuse(connection, id)
            if row is not None and kind is ResourceKind.SKILL:
                await connection.execute(delete(skill_artifacts).where(skill_artifacts.c.skill_id == id))
                await connection.execute(delete(skill_tags).where(skill_tags.c.skill_id == id))
        return to_resource(row) if row else None


def _brief(resource: Resource) -> Resource:
    return replace(resource, body=brief_body(resource.body))
