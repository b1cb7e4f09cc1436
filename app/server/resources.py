"""Agents, instances, sessions, skills, environments, execution contexts: one engine for all kinds.

Verbs take the contract's messages and give protobuf JSON with the original field names, secrets redacted. A client
never writes a resource's status; secret values are sealed before they are stored.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from google.protobuf import json_format
from google.protobuf.message import Message

from app.server.ids import kind_number, new_resource_id, slug_of
from app.server.problems import invalid, not_found, violated
from app.server.render import API_VERSION, as_json
from app.server.resource_kinds import DEFINITIONS, Definition
from app.server.rules import Violation, validate
from app.server.sealing import Sealing, redacted
from status.log import rfc3339
from status.store.errors import SlugTaken, StaleVersion
from status.store.records import Resource, ResourceKind
from status.store.store import Store

DEFAULT_ORG = "local"
DEFAULT_PAGE, MAX_PAGE, MAX_INSTANCES = 50, 500, 1000
PLATFORM = 1
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Newest first. `next_token` is empty on the last page; `total` counts all pages."""

    resources: list[Json]
    next_token: str
    total: int
    page_size: int


class Resources:
    def __init__(self, store: Store, sealing: Sealing) -> None:
        self._store = store
        self._sealing = sealing

    async def create(self, message: Message) -> Json:
        """A new resource. An agent gets its default instance with it."""
        definition = checked(message)
        body = self._body(definition, as_json(message), before=None)
        await self._check_parent(definition, body)
        stored = await self._store.put_resource(_record(definition, body))
        if definition.kind is ResourceKind.AGENT:
            await self.default_instance(stored)
            stored = await self.stored(definition.kind, stored.id)
        return await self.shown(stored)

    async def update(self, message: Message) -> Json:
        """Replace spec, labels, annotations and tags of the resource with this id (else org and slug)."""
        definition = checked(message)
        given = as_json(message)
        before = await self._named_in(definition, given)
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
        if before := await self._named_in(definition, given):
            return await self._replace(definition, given, before)
        try:
            return await self.create(message)
        except SlugTaken:
            return await self.update(message)

    async def delete(self, kind: ResourceKind, id: str) -> Json:
        """Remove it; answers what it was. An agent's default instance goes with it."""
        resource = await self.stored(kind, id)
        shown = await self.shown(resource)
        if kind is ResourceKind.AGENT and (instance := resource.body.get("status", {}).get("default_instance_id")):
            await self._store.delete_resource(ResourceKind.AGENT_INSTANCE, instance)
        await self._store.delete_resource(kind, resource.id)
        return shown

    async def get(self, kind: ResourceKind, id: str) -> Json:
        return await self.shown(await self.stored(kind, id))

    async def get_by_reference(self, kind: ResourceKind, reference: ApiResourceReference) -> Json:
        if violations := validate(reference):
            raise violated(violations)
        if reference.kind not in (0, kind_number(kind)):
            raise invalid(
                f"kind: the reference must be of kind {kind_number(kind)} ({kind.value}), not {reference.kind}"
            )
        if not reference.slug:
            raise invalid("slug: a reference needs a slug")
        org = "" if reference.scope == PLATFORM else reference.org or DEFAULT_ORG
        found = await self._store.find_resource(kind, org, reference.slug)
        if found is None:
            raise not_found(kind.value, f"{org}/{reference.slug}" if org else reference.slug)
        return await self.shown(found)

    async def list(
        self,
        kind: ResourceKind,
        *,
        org: str = "",
        parent_ids: Sequence[str] = (),
        page_size: int = 0,
        page_token: str = "",
    ) -> Listed:
        """`page_token` is the last id of the page before."""
        size = max(1, min(page_size or DEFAULT_PAGE, MAX_PAGE))
        found, total = await self._store.list_resources(
            kind, org=org, parent_ids=parent_ids, limit=size + 1, before=page_token
        )
        page, more = found[:size], len(found) > size
        shown = [await self.shown(resource) for resource in page]
        return Listed(resources=shown, next_token=page[-1].id if more else "", total=total, page_size=size)

    async def sessions_of(self, agent_id: str, *, page_size: int = 0, page_token: str = "") -> Listed:
        """The sessions with any instance of this agent."""
        instances, _ = await self._store.list_resources(
            ResourceKind.AGENT_INSTANCE, parent_ids=[agent_id], limit=MAX_INSTANCES
        )
        if not instances:
            return Listed(resources=[], next_token="", total=0, page_size=page_size or DEFAULT_PAGE)
        ids = [instance.id for instance in instances]
        return await self.list(ResourceKind.SESSION, parent_ids=ids, page_size=page_size, page_token=page_token)

    async def stored(self, kind: ResourceKind, id: str) -> Resource:
        """As it is stored, secrets sealed. Raises NOT_FOUND."""
        if not id:
            raise violated([Violation(field="value", text="value is required: it names the resource")])
        resource = await self._store.get_resource(kind, id)
        if resource is None:
            raise not_found(kind.value, id)
        return resource

    async def named(self, kind: ResourceKind, org: str, name: str) -> Resource:
        """By id, else by slug in the org, else by slug on the platform. Raises NOT_FOUND."""
        found = await self._store.get_resource(kind, name)
        for owner in (org, ""):
            found = found or await self._store.find_resource(kind, owner, slug_of(name))
        if found is None:
            raise not_found(kind.value, name)
        return found

    async def default_instance(self, agent: Resource) -> Resource:
        """The agent's default instance; made, and noted in the agent, when it is missing (self-healing)."""
        noted = agent.body.get("status", {}).get("default_instance_id", "")
        if noted and (instance := await self._store.get_resource(ResourceKind.AGENT_INSTANCE, noted)):
            return instance
        instance = await self._own_instance(agent)
        body = deepcopy(agent.body)
        body.setdefault("status", {})["default_instance_id"] = instance.id
        with suppress(StaleVersion):  # somebody else changed the agent; it is noted the next time
            await self._put(body, agent)
        return instance

    async def make(
        self, kind: ResourceKind, *, org: str, name: str, spec: Mapping[str, Any], slug: str = ""
    ) -> Resource:
        """A resource that the server itself needs: a session, a default agent or instance."""
        scope = {"owner_scope": "organization"} if org else {"owner_scope": "platform"}
        given = {"metadata": {"name": name, "slug": slug, "org": org, **scope}, "spec": dict(spec)}
        definition = DEFINITIONS[kind]
        body = self._body(definition, {"api_version": API_VERSION, "kind": kind.value, **given}, before=None)
        return await self._store.put_resource(_record(definition, body))

    async def shown(self, resource: Resource) -> Json:
        """As an answer shows it: secrets redacted, a session with its thread and sandbox."""
        body = deepcopy(resource.body)
        if (holder := _secret_holder(DEFINITIONS[resource.kind], body)) is not None:
            holder["data"] = redacted(holder["data"])
        if resource.kind is ResourceKind.SESSION:
            thread_id, _, sandbox_id = await self._store.session_facts(resource.id)
            known = {"thread_id": thread_id, "sandbox_id": sandbox_id}
            body.setdefault("spec", {}).update({name: value for name, value in known.items() if value})
        return body

    def opened(self, resource: Resource) -> Json:
        """As the run that it belongs to needs it: secret values in clear. Never an answer of the API."""
        body = deepcopy(resource.body)
        if (holder := _secret_holder(DEFINITIONS[resource.kind], body)) is not None:
            clear = self._sealing.open_data(holder["data"])
            for name, entry in holder["data"].items():
                entry["value"] = clear[name].value
        return body

    async def _own_instance(self, agent: Resource) -> Resource:
        name = agent.body.get("metadata", {}).get("name") or agent.slug
        slug = slug_of(f"{agent.slug[:55]}-default")
        try:
            return await self.make(
                ResourceKind.AGENT_INSTANCE, org=agent.org, name=f"{name} (default)", slug=slug,
                spec={"agent_id": agent.id},
            )  # fmt: skip
        except SlugTaken:
            found = await self._store.find_resource(ResourceKind.AGENT_INSTANCE, agent.org, slug)
            if found is None or found.parent_id == agent.id:
                return found or await self._own_instance(agent)
            # Left over from a deleted agent of the same name: it belongs to this one now.
            body = {**deepcopy(found.body), "spec": {**found.body.get("spec", {}), "agent_id": agent.id}}
            return await self._put(body, found)

    async def _replace(self, definition: Definition, given: Json, before: Resource) -> Json:
        body = self._body(definition, given, before=before)
        await self._check_parent(definition, body)
        return await self.shown(await self._put(body, before))

    async def _put(self, body: Json, before: Resource) -> Resource:
        record = _record(DEFINITIONS[before.kind], body, before)
        return await self._store.put_resource(record, expect_version=before.version)

    async def _named_in(self, definition: Definition, given: Json) -> Resource | None:
        metadata = given.get("metadata", {})
        if metadata.get("id"):
            return await self._store.get_resource(definition.kind, metadata["id"])
        slug = metadata.get("slug") or slug_of(metadata.get("name", ""))
        return await self._store.find_resource(definition.kind, _org_of(metadata), slug) if slug else None

    async def _check_parent(self, definition: Definition, body: Json) -> None:
        if definition.parent is not None:
            await self.stored(definition.parent, _parent_of(definition, body))

    def _body(self, definition: Definition, given: Json, before: Resource | None) -> Json:
        """What is stored: the caller's spec and labels; identity, status and audit are the server's."""
        metadata = dict(given.get("metadata", {}))
        was = before.body.get("metadata", {}) if before else {}
        metadata["id"] = was.get("id") or new_resource_id(definition.kind)
        metadata["org"] = was.get("org", "") if before else _org_of(metadata)
        metadata["name"] = metadata.get("name") or was.get("name") or metadata.get("slug", "")
        metadata["slug"] = was.get("slug") or slug_of(metadata.get("slug") or metadata["name"])
        if not metadata["slug"]:
            raise invalid("metadata.name: a name with at least one letter or digit is required")
        status = deepcopy(before.body.get("status", {})) if before else {}
        status["audit"] = {"spec_audit": _audited(status.get("audit", {}).get("spec_audit"))}
        body = {
            "api_version": API_VERSION,
            "kind": definition.kind.value,
            "metadata": {name: value for name, value in metadata.items() if value},
            "spec": deepcopy(given.get("spec", {})),
            "status": status,
        }
        if (holder := _secret_holder(definition, body)) is not None:
            kept = _secret_holder(definition, before.body) if before else None
            holder["data"] = self._sealing.seal_data(holder["data"], (kept or {}).get("data", {}))
        return body


def checked(message: Message) -> Definition:
    """The definition of the message's kind; raises with every rule that the message breaks."""
    if violations := validate(message):
        raise violated(violations)
    return DEFINITIONS[ResourceKind(message.DESCRIPTOR.name)]


def parsed(kind: ResourceKind, given: Mapping[str, Any]) -> Message:
    """JSON with either spelling of the field names as the kind's message."""
    try:
        return json_format.ParseDict(dict(given), DEFINITIONS[kind].message())
    except (json_format.ParseError, ValueError, TypeError) as error:
        raise invalid(f"not a {kind.value}: {error}") from None


def _record(definition: Definition, body: Json, before: Resource | None = None) -> Resource:
    metadata = body["metadata"]
    return Resource(
        kind=definition.kind,
        id=metadata["id"],
        org=metadata.get("org", ""),
        slug=metadata["slug"],
        parent_id=_parent_of(definition, body),
        created_at=before.created_at if before else time.time(),
        version=before.version if before else 0,
        body=body,
    )


def _parent_of(definition: Definition, body: Json) -> str:
    return str(body.get("spec", {}).get(definition.parent_field, "")) if definition.parent_field else ""


def _org_of(metadata: Mapping[str, Any]) -> str:
    return "" if metadata.get("owner_scope") == "platform" else str(metadata.get("org") or DEFAULT_ORG)


def _secret_holder(definition: Definition, body: Json) -> Json | None:
    """The object whose `data` holds the values; None when there is none."""
    if not definition.secrets:
        return None
    holder: Any = body
    for name in definition.secrets[:-1]:
        holder = holder.get(name) or {}
    return holder if holder.get("data") else None


def _audited(before: Json | None) -> Json:
    now = rfc3339(time.time())
    return {
        "created_at": (before or {}).get("created_at", now),
        "updated_at": now,
        "event": "updated" if before else "created",
    }
