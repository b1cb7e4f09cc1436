"""The stored form of a resource: the message's JSON, identity, status and audit by the server, secrets sealed."""

import time
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from google.protobuf.message import Message

from agent_runner.app.server.access.principal import actor, default_org
from agent_runner.app.server.contract.ids import new_resource_id, slug_of
from agent_runner.app.server.contract.message_json import message_of
from agent_runner.app.server.contract.rules import default_owner_scope, validate
from agent_runner.app.server.contract.tags import check_tags
from agent_runner.app.server.contract.texts import check_text, unfit_texts
from agent_runner.app.server.executions.view import API_VERSION
from agent_runner.app.server.problems import invalid, violated
from agent_runner.app.server.resources.resource_kinds import DEFINITIONS, Definition
from agent_runner.app.server.resources.sealing import EnvValue, Sealing, check_env, check_secrets
from agent_runner.status.log.log import rfc3339
from agent_runner.status.store.records import Resource, ResourceKind

Json = dict[str, Any]


def checked(message: Message) -> Definition:
    """The definition of the message's kind. Raises INVALID_ARGUMENT that names every broken rule."""
    if violations := [*validate(message), *unfit_texts(message)]:
        raise violated(violations)
    return DEFINITIONS[ResourceKind(message.DESCRIPTOR.name)]


def parsed(kind: ResourceKind, given: Mapping[str, Any]) -> Message:
    """Reads JSON, in either spelling of the field names, as the kind's message. The default owner is the organization.

    The published contract, over gRPC, has no such default.
    """
    message = DEFINITIONS[kind].message()
    type_: Any = message.DESCRIPTOR
    metadata, default = given.get("metadata"), default_owner_scope(type_)
    if (
        default
        and isinstance(metadata, Mapping)
        and all(metadata.get(n) is None for n in ("owner_scope", "ownerScope"))
    ):
        kept = {name: value for name, value in metadata.items() if name != "ownerScope"}
        given = {**given, "metadata": {**kept, "owner_scope": default}}
    return message_of(given, message)


def new_body(
    sealing: Sealing,
    definition: Definition,
    given: Json,
    before: Resource | None,
    *,
    named_by_id: bool = False,
    id: str = "",
) -> Json:
    """The stored form: spec and labels from the caller; identity, status and audit from the server. `id`: for a new
    one, instead of one that is made here."""
    metadata = dict(given.get("metadata", {}))
    was = before.body.get("metadata", {}) if before else {}
    metadata["id"] = was.get("id") or id or new_resource_id(definition.kind)
    if named_by_id:
        metadata["name"] = metadata["id"]
    metadata["org"] = was.get("org", "") if before else org_of(metadata)
    if "owner_scope" in was:
        metadata["owner_scope"] = was["owner_scope"]
    metadata["name"] = metadata.get("name") or was.get("name") or metadata.get("slug", "")
    metadata["slug"] = was.get("slug") or slug_of(metadata.get("slug") or metadata["name"])
    if not metadata["slug"]:
        raise invalid("metadata.name: a name with at least one letter or digit is required")
    check_text("metadata.org", metadata["org"])
    check_tags(metadata.get("tags", ()), "metadata.tags")
    status = deepcopy(before.body.get("status", {})) if before else {}
    status["audit"] = audited(status.get("audit", {}).get("spec_audit"))
    body = {
        "api_version": API_VERSION,
        "kind": definition.kind.value,
        "metadata": {name: value for name, value in metadata.items() if value},
        "spec": deepcopy(given.get("spec", {})),
        "status": status,
    }
    if (holder := secret_holder(definition, body)) is not None:
        given_values = {name: str(entry.get("value", "")) for name, entry in holder["data"].items()}
        check_env(given_values, f"{'.'.join(definition.secrets)}")
        secret = {name: bool(entry.get("is_secret")) for name, entry in holder["data"].items()}
        check_secrets(
            (EnvValue(value=value, is_secret=secret[name]) for name, value in given_values.items()),
            ".".join(definition.secrets),
        )
        kept = secret_holder(definition, before.body) if before else None
        holder["data"] = sealing.seal_data(holder["data"], (kept or {}).get("data", {}))
    return body


def record_of(definition: Definition, body: Json, before: Resource | None = None) -> Resource:
    metadata = body["metadata"]
    return Resource(
        kind=definition.kind,
        id=metadata["id"],
        org=metadata.get("org", ""),
        slug=metadata["slug"],
        parent_id=parent_of(definition, body),
        created_at=before.created_at if before else time.time(),
        version=before.version if before else 0,
        body=body,
    )


def parent_of(definition: Definition, body: Json) -> str:
    return str(body.get("spec", {}).get(definition.parent_field, "")) if definition.parent_field else ""


def org_of(metadata: Mapping[str, Any]) -> str:
    return "" if metadata.get("owner_scope") == "platform" else str(metadata.get("org") or default_org())


def secret_holder(definition: Definition, body: Json) -> Json | None:
    """The object whose `data` holds the values; None when there is none."""
    if not definition.secrets:
        return None
    holder: Any = body
    for name in definition.secrets[:-1]:
        holder = holder.get(name) or {}
    return holder if holder.get("data") else None


def audited(before: Json | None) -> Json:
    """The audit of a write by the caller, now. The status of a resource changes only together with its spec."""
    now, by = rfc3339(time.time()), {"id": actor()}
    made = {"created_by": by, "created_at": now}
    if before:
        made = {name: before[name] for name in made if name in before}
    info = {**made, "updated_by": by, "updated_at": now, "event": "updated" if before else "created"}
    return {"spec_audit": info, "status_audit": dict(info)}
