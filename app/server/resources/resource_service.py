"""Agents, instances, sessions, skills, environments, execution contexts: one engine for all kinds.

Verbs take the contract's messages and give protobuf JSON with the original field names, secrets redacted. A client
never writes a resource's status; secret values are sealed before they are stored.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.message import Message

from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.app.server.access.principal import SERVER, acting_as, default_org
from agent_runner.app.server.contract.ids import kind_number, slug_of
from agent_runner.app.server.contract.rules import Violation, validate
from agent_runner.app.server.contract.tags import check_tags
from agent_runner.app.server.executions.drafts.run_config import check_annotations
from agent_runner.app.server.executions.view import as_json
from agent_runner.app.server.problems import exists, invalid, not_found, violated
from agent_runner.app.server.resources.resource_bodies import (
    Json,
    checked,
    new_body,
    org_of,
    parent_of,
    record_of,
    secret_holder,
)
from agent_runner.app.server.resources.resource_kinds import DEFINITIONS, Definition
from agent_runner.app.server.resources.runner_fields import check_workers_fields
from agent_runner.app.server.resources.sealing import Sealing, redacted
from agent_runner.status.store.errors import SlugTaken, StaleVersion
from agent_runner.status.store.lists.queries import ResourceQuery
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.store import Store

PLATFORM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Newest first. `next_token` is empty on the last page. `total` is counted up to 10,000."""

    resources: list[Json]
    next_token: str
    total: int
    page_size: int


class Resources:
    def __init__(self, store: Store, sealing: Sealing, session_deleted: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._sealing = sealing
        self._session_deleted = session_deleted

    async def create(self, message: Message) -> Json:
        """Creates a resource; the server makes its id. An agent also gets its default instance."""
        definition = checked(message)
        given = as_json(message)
        await self.must_be_new(definition, given)
        check_workers_fields(definition.kind, given, {})
        check_annotations(given.get("metadata", {}).get("annotations", {}))
        body = new_body(self._sealing, definition, given, before=None)
        await self._check_parent(definition, body)
        stored = await self._store.put_resource(record_of(definition, body))
        if definition.kind is ResourceKind.AGENT:
            await self.default_instance(stored)
            stored = await self.stored(definition.kind, stored.id)
        return await self.shown(stored)

    async def update(self, message: Message) -> Json:
        """Replace spec, labels, annotations and tags of the resource with this id (else org and slug)."""
        definition = checked(message)
        given = as_json(message)
        before = await self.named_in(definition, given)
        if before is None:
            metadata = given.get("metadata", {})
            raise not_found(
                definition.kind.value, metadata.get("id") or metadata.get("slug") or metadata.get("name", "")
            )
        return await self._replace(definition, given, before)

    async def apply(self, message: Message) -> Json:
        """Update it if it exists, else create it; the same call again changes nothing."""
        definition = checked(message)
        given = as_json(message)
        if before := await self.named_in(definition, given):
            return await self._replace(definition, given, before)
        try:
            return await self.create(message)
        except SlugTaken:
            return await self.update(message)

    async def delete(self, kind: ResourceKind, id: str) -> Json:
        """Removes it and returns its last state. An agent's default instance is removed too."""
        resource = await self.stored(kind, id)
        shown = await self.shown(resource)
        if kind is ResourceKind.AGENT and (instance := resource.body.get("status", {}).get("default_instance_id")):
            await self._store.delete_resource(ResourceKind.AGENT_INSTANCE, instance)
        await self._store.delete_resource(kind, resource.id)
        if kind is ResourceKind.SESSION:
            await self._session_deleted(resource.id)
        return shown

    async def get(self, kind: ResourceKind, id: str) -> Json:
        return await self.shown(await self.stored(kind, id))

    async def get_by_reference(self, kind: ResourceKind, reference: ApiResourceReference) -> Json:
        return await self.shown(await self.referenced(kind, reference))

    async def referenced(self, kind: ResourceKind, reference: ApiResourceReference) -> Resource:
        """The stored resource, with sealed secrets. The reference's version is ignored. Raises NOT_FOUND."""
        if violations := validate(reference):
            raise violated(violations)
        if reference.kind not in (0, kind_number(kind)):
            raise invalid(
                f"kind: the reference must be of kind {kind_number(kind)} ({kind.value}), not {reference.kind}"
            )
        if not reference.slug:
            raise invalid("slug: a reference needs a slug")
        org = "" if reference.scope == PLATFORM else reference.org or default_org()
        found = await self._store.find_resource(kind, org, reference.slug)
        if found is None:
            raise not_found(kind.value, f"{org}/{reference.slug}" if org else reference.slug)
        return found

    async def list(self, query: ResourceQuery, *, agent_id: str = "") -> Listed:
        """All, or those of an agent: its instances, or the sessions of its instances. Raises INVALID_ARGUMENT."""
        check_tags(query.tags, "tags")
        try:
            found = await self._store.list_resources(_of_agent(query, agent_id))
        except ValueError as error:
            raise invalid(str(error)) from None
        return Listed(
            resources=[await self.shown(resource) for resource in found.resources],
            next_token=found.next_token,
            total=found.total,
            page_size=found.page_size,
        )

    async def stored(self, kind: ResourceKind, id: str) -> Resource:
        """The stored resource, with sealed secrets. Raises NOT_FOUND."""
        if not id:
            raise violated([Violation(field="value", text="value is required: it names the resource")])
        resource = await self._store.get_resource(kind, id)
        if resource is None:
            raise not_found(kind.value, id)
        return resource

    async def named(self, kind: ResourceKind, org: str, name: str) -> Resource:
        """A resource by id, else by slug in the org, else by slug on the platform. Raises NOT_FOUND."""
        found = await self._store.get_resource(kind, name)
        for owner in (org, ""):
            found = found or await self._store.find_resource(kind, owner, slug_of(name))
        if found is None:
            raise not_found(kind.value, name)
        return found

    async def default_instance(self, agent: Resource) -> Resource:
        """The agent's default instance. A missing one is made and noted in the agent (self-healing)."""
        noted = agent.body.get("status", {}).get("default_instance_id", "")
        if noted and (instance := await self._store.get_resource(ResourceKind.AGENT_INSTANCE, noted)):
            return instance
        with acting_as(SERVER):  # the agent may be the platform's
            instance = await self._own_instance(agent)
            body = deepcopy(agent.body)
            body.setdefault("status", {})["default_instance_id"] = instance.id
            with suppress(StaleVersion):  # somebody else changed the agent; it is noted the next time
                await self._put(body, agent)
        return instance

    async def make(self, record: Resource) -> Resource:
        """Store what `record` gave. Raises `SlugTaken` if the name or the id is taken."""
        return await self._store.put_resource(record)

    def record(
        self,
        kind: ResourceKind,
        *,
        org: str,
        spec: Mapping[str, Any],
        name: str = "",
        slug: str = "",
        annotations: Mapping[str, str] | None = None,
        id: str = "",
    ) -> Resource:
        """A resource that the server itself needs, to be stored: a session (named by its id), a default agent or
        instance. Without `id` it gets a new one."""
        scope = {"owner_scope": "organization"} if org else {"owner_scope": "platform"}
        metadata = {"name": name, "slug": slug, "org": org, **scope, "annotations": dict(annotations or {})}
        given = {"metadata": metadata, "spec": dict(spec)}
        definition = DEFINITIONS[kind]
        body = new_body(self._sealing, definition, given, before=None, named_by_id=not name, id=id)
        return record_of(definition, body)

    async def shown(self, resource: Resource) -> Json:
        """The resource for an answer: secrets redacted, a session with its thread and sandbox."""
        body = deepcopy(resource.body)
        if (holder := secret_holder(DEFINITIONS[resource.kind], body)) is not None:
            holder["data"] = redacted(holder["data"])
        if resource.kind is ResourceKind.SESSION:
            thread_id, _, sandbox_id = await self._store.session_facts(resource.id)
            known = {"thread_id": thread_id, "sandbox_id": sandbox_id}
            body.setdefault("spec", {}).update({name: value for name, value in known.items() if value})
        return body

    async def rehome(self, session: Resource, agent: Resource) -> Resource:
        """Give a session to another agent: its next executions are that agent's."""
        instance = await self.default_instance(agent)
        body = {**deepcopy(session.body)}
        body["spec"] = {**body.get("spec", {}), "agent_instance_id": instance.id}
        return await self._put(body, session)

    async def _own_instance(self, agent: Resource) -> Resource:
        name = agent.body.get("metadata", {}).get("name") or agent.slug
        slug = slug_of(f"{agent.slug[:55]}-default")
        try:
            new = self.record(
                ResourceKind.AGENT_INSTANCE, org=agent.org, name=f"{name} (default)", slug=slug,
                spec={"agent_id": agent.id},
            )  # fmt: skip
            return await self.make(new)
        except SlugTaken:
            found = await self._store.find_resource(ResourceKind.AGENT_INSTANCE, agent.org, slug)
            if found is None or found.parent_id == agent.id:
                return found or await self._own_instance(agent)
            # Left over from a deleted agent of the same name: it belongs to this one now.
            body = {**deepcopy(found.body), "spec": {**found.body.get("spec", {}), "agent_id": agent.id}}
            return await self._put(body, found)

    async def _replace(self, definition: Definition, given: Json, before: Resource) -> Json:
        check_workers_fields(definition.kind, given, await self.shown(before))
        check_annotations(given.get("metadata", {}).get("annotations", {}))
        body = new_body(self._sealing, definition, given, before=before)
        await self._check_parent(definition, body)
        return await self.shown(await self._put(body, before))

    async def _put(self, body: Json, before: Resource) -> Resource:
        record = record_of(DEFINITIONS[before.kind], body, before)
        return await self._store.put_resource(record, expect_version=before.version)

    async def must_be_new(self, definition: Definition, given: Json) -> None:
        """Raises ALREADY_EXISTS if the request has the id of an existing resource."""
        id = given.get("metadata", {}).get("id")
        if id and await self._store.get_resource(definition.kind, id) is not None:
            raise exists(definition.kind.value, id)

    async def named_in(self, definition: Definition, given: Json) -> Resource | None:
        metadata = given.get("metadata", {})
        if metadata.get("id"):
            return await self._store.get_resource(definition.kind, metadata["id"])
        slug = metadata.get("slug") or slug_of(metadata.get("name", ""))
        return await self._store.find_resource(definition.kind, org_of(metadata), slug) if slug else None

    async def _check_parent(self, definition: Definition, body: Json) -> None:
        if definition.parent is not None:
            await self.stored(definition.parent, parent_of(definition, body))


def _of_agent(query: ResourceQuery, agent_id: str) -> ResourceQuery:
    """Raises INVALID_ARGUMENT for a kind that does not belong to agents."""
    match DEFINITIONS[query.kind].parent:
        case _ if not agent_id:
            return query
        case ResourceKind.AGENT:
            return replace(query, parent_id=agent_id)
        case ResourceKind.AGENT_INSTANCE as instance:
            return replace(query, grandparent=(instance, agent_id))
        case _:
            raise invalid(f"agent: {query.kind.value} resources do not belong to an agent")
