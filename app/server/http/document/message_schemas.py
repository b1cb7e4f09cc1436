"""The contract's messages as `/openapi.json` describes them: JSON schemas made from their descriptors.

Each resource has three schemas. `Agent` is the resource in answers (fields that are not set are left out). `AgentInput`
is the body that creates one, under the contract's rules. `AgentUpdate` is the body for its own path.
`contract/message_json.py` accepts these shapes, `agent_runner.app.server.contract.rules` checks these rules.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.contract.message_json import BASE64, INT32, enum_in, is_map, type_in
from agent_runner.app.server.contract.rules import (
    AtLeast,
    Check,
    EachItem,
    Equal,
    Length,
    OneOf,
    Pattern,
    Required,
    checks_of,
)
from agent_runner.app.server.contract.tags import MAX_LENGTH, MAX_TAGS
from agent_runner.app.server.contract.texts import INDEXED, MAX_INDEXED
from agent_runner.app.server.executions.view import API_VERSION
from agent_runner.app.server.resources.resource_kinds import DEFINITIONS

Schema = dict[str, Any]
TEXT = r"^[^\u0000]*$"
"""Neither a shell nor Postgres can take a NUL character."""
ENV_NAME = r"^[^=\u0000]+$"
_A_NAME = r"^[^\u0000]*[A-Za-z0-9][^\u0000]*$"
"""A name with a letter or a digit: a slug can be made from it."""
_WORDS = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085\ufeff][^\u0000]*$"
"""A text with something else than space."""
_ENV = frozenset({"EnvironmentSpec.data", "AgentExecutionSpec.runtime_env"})
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}
_SPEC_NEEDED = frozenset({"AgentInstance", "Session", "Skill", "AgentExecution"})
"""Kinds that cannot be created without a spec, although the contract lets the spec be left out."""


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_COUNT: Schema = {"type": "integer", "minimum": 0}
ATTEMPTS: Schema = {
    "type": "object",
    "description": "of an execution that may have more than one; lists leave `failed` and `next_at` out",
    "required": ["current", "maximum"],
    "properties": {
        "current": {**_COUNT, "description": "0 before the first one"},
        "maximum": _COUNT,
        "next_at": {"type": "string", "format": "date-time", "description": "when the next one may begin"},
        "failed": {
            "type": "array",
            "description": "the attempts that were followed by another one",
            "items": {
                "type": "object",
                "required": ["attempt", "error_code", "error", "ended_at"],
                "properties": {
                    "attempt": _COUNT,
                    "error_code": {"type": "string"},
                    "error": {"type": "string"},
                    "worker": {"type": "string"},
                    "ended_at": {"type": "string", "format": "date-time"},
                    "possibly_repeated": {
                        "type": "array",
                        "description": "the tool calls that were open: the next attempt may have made them again",
                        "items": {
                            "type": "object",
                            "properties": {"id": {"type": "string"}, "name": {"type": "string"}},
                        },
                    },
                },
            },
        },
    },
}


@cache
def message_components() -> Mapping[str, Schema]:
    """All schemas, by name."""
    shown, sent = _Shown(), _Sent()
    for definition in DEFINITIONS.values():
        if definition.route:
            type_: Any = definition.message.DESCRIPTOR
            shown.parts[type_.name] = shown.resource(type_)
            sent.parts[f"{type_.name}Input"] = sent.resource(type_, named=True)
            sent.parts[f"{type_.name}Update"] = sent.resource(type_, by_path=True)
    execution = shown.resource(AgentExecution.DESCRIPTOR)
    execution["properties"] |= {
        "output": {"description": "the final state of a graph without messages"},
        "waiting_for_input": {"type": "boolean", "description": "it ended with questions that nobody has answered yet"},
        "questions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string", "description": "what `answers` name it by"},
                    "value": {"description": "what the graph asked with, whole"},
                    "text": {"type": "string", "description": "the same in words"},
                    "node": {"type": "string", "description": "the node that asks"},
                    "scope": {"type": "string", "description": "the sub-agent or sub-graph that asks"},
                    "expects": {"type": "object", "description": "what kind of answer: `kind`, and what belongs to it"},
                },
            },
            "description": "what it asked when it ended",
        },
        "next_step": {"type": "string", "description": "what to do about an execution that waits"},
        "incomplete": {
            "type": "object",
            "description": "why the last answer of a COMPLETED execution is no whole one",
            "properties": {
                "reason": {"type": "string", "description": "the provider's word, `cut_off` or `empty`"},
                "text": {"type": "string", "description": "the same in words"},
            },
        },
        "sandbox": {
            "type": "string",
            "description": "what its commands ran in: isolated; a user of its own, not isolated, and why; none",
        },
        "redriven_from": {"type": "string", "description": "the id of the execution that this one repeats"},
        "attempts": ATTEMPTS,
        "turn": {
            "type": "object",
            "description": "while it waits for its org's turn: `org`, `priority` and `waiting_since`",
        },
    }
    shown.parts["AgentExecution"] = execution
    sent.parts["AgentExecutionInput"] = sent.resource(AgentExecution.DESCRIPTOR) | {"anyOf": _PLACES}
    return _used(shown.parts | sent.parts)


class _Shown:
    """Schemas of messages in answers."""

    ends_in = ""

    def __init__(self) -> None:
        self.parts: dict[str, Schema] = {}

    def resource(self, type_: Descriptor) -> Schema:
        schema = self.message(type_)
        metadata = type_in(type_.fields_by_name["metadata"])
        known = {**self.message(metadata), "required": ["id", "name", "slug"]}
        fixed: Schema = {"api_version": {"const": API_VERSION}, "kind": {"const": type_.name}, "metadata": known}
        schema["properties"] |= fixed
        return {**schema, "required": [*fixed, "spec", "status"]}

    def message(self, type_: Descriptor) -> Schema:
        properties = {field.name: self.field(field) for field in type_.fields}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def field(self, field: FieldDescriptor) -> Schema:
        if is_map(field):
            values = self.item(type_in(field).fields_by_name["value"])
            return {"type": "object", "additionalProperties": values}
        return {"type": "array", "items": self.item(field)} if field.is_repeated else self.item(field)

    def item(self, field: FieldDescriptor) -> Schema:
        match field.type:
            case FieldDescriptor.TYPE_MESSAGE:
                return self.nested(type_in(field))
            case FieldDescriptor.TYPE_ENUM:
                return self.enum(enum_in(field))
            case FieldDescriptor.TYPE_BOOL:
                return {"type": "boolean"}
            case FieldDescriptor.TYPE_BYTES:
                return {"type": "string", "pattern": BASE64, "contentEncoding": "base64"}
            case FieldDescriptor.TYPE_STRING:
                return self.text(field)
            case _:
                return {"type": "integer", "format": "int32", "minimum": INT32[0], "maximum": INT32[1]}

    def nested(self, type_: Descriptor) -> Schema:
        """A reference. The schema itself is made at its first use."""
        if type_.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[type_.full_name])
        name = f"{type_.name}{self.ends_in}"
        if name not in self.parts:
            self.parts[name] = {}  # a message may contain itself
            self.parts[name] = self.message(type_)
        return ref(name)

    def enum(self, type_: EnumDescriptor) -> Schema:
        return {"type": "string", "enum": list(type_.values_by_name)}

    def text(self, field: FieldDescriptor) -> Schema:
        return {"type": "string"}


class _Sent(_Shown):
    """Schemas of messages in requests: with the rules, null for fields that are not set, enums by name or number."""

    ends_in = "Input"

    def resource(self, type_: Descriptor, *, named: bool = False, by_path: bool = False) -> Schema:
        schema = self.message(type_)
        metadata = type_.fields_by_name["metadata"]
        given = self._restricted(type_in(metadata), checks_of(metadata))
        if named:
            name = {"type": "string", "pattern": _A_NAME}
            given["properties"]["slug"] |= {"pattern": f"{_A_NAME}|^$"}
            given["anyOf"] = [_set(name=name), _set(slug=name)]
        if by_path:
            given["properties"]["id"] |= {"readOnly": True, "description": "the path names it"}
        status = {"type": ["object", "null"], "readOnly": True, "description": "the server writes it"}
        schema["properties"] |= {"metadata": given, "status": status}
        if type_.name in _SPEC_NEEDED:
            schema["properties"]["spec"] = self.nested(type_in(type_.fields_by_name["spec"]))
            schema["required"] = [*schema["required"], "spec"]
        return schema

    def message(self, type_: Descriptor) -> Schema:
        schema = super().message(type_)
        required = []
        for field in type_.fields:
            own, must = _ruled(schema["properties"][field.name], checks_of(field))
            schema["properties"][field.name] = own if must else _or_null(own)
            required += [field.name] if must else []
        if required:
            schema["required"] = required
        for group in type_.oneofs:
            schema["anyOf"] = [
                {"properties": {other.name: {"type": "null"} for other in group.fields if other is not one}}
                for one in group.fields
            ]
        return schema

    def field(self, field: FieldDescriptor) -> Schema:
        for check in checks_of(field):
            if isinstance(check, EachItem):
                return {"type": "array", "items": self._restricted(type_in(field), (check.check,))}
        schema = super().field(field)
        if is_map(field):
            schema["propertyNames"] = {"pattern": ENV_NAME if _full(field) in _ENV else TEXT}
        elif _full(field) == "ApiResourceMetadata.tags":
            schema |= {"maxItems": MAX_TAGS, "items": {**schema["items"], "maxLength": MAX_LENGTH}}
        elif field.name in INDEXED:
            schema["maxLength"] = MAX_INDEXED
        return schema

    def enum(self, type_: EnumDescriptor) -> Schema:
        return {"enum": [*type_.values_by_name, *type_.values_by_number]}

    def text(self, field: FieldDescriptor) -> Schema:
        return {"type": "string", "pattern": _WORDS if _full(field) == "SkillSpec.skill_md" else TEXT}

    def _restricted(self, type_: Descriptor, checks: Sequence[Check]) -> Schema:
        """The schema of the message, with one field limited to some of its values."""
        schema = self.message(type_)
        for check in checks:
            if isinstance(check, OneOf):
                values = enum_in(type_.fields_by_name[check.field]).values_by_number
                allowed: list[Any] = [form for n in check.values for form in (values[n].name, n)]
                if 0 in check.values or check.default:
                    allowed.append(None)
                else:
                    schema["required"] = [*schema.get("required", ()), check.field]
                schema["properties"][check.field] = {"enum": allowed}
                if check.default:
                    schema["properties"][check.field]["default"] = check.default
        return schema


def _used(parts: Mapping[str, Schema]) -> Mapping[str, Schema]:
    """Only the schemas that are referred to. For example, a status is never sent, so its messages need no schema."""
    tops = [name for name in parts if parts[name].get("properties", {}).keys() & {"api_version"}]
    used: dict[str, Schema] = {}
    while tops:
        if (name := tops.pop()) not in used:
            used[name] = parts[name]
            tops += re.findall(r"#/components/schemas/([^'\"]+)", str(parts[name]))
    return {name: schema for name, schema in parts.items() if name in used}


def _ruled(schema: Schema, checks: Sequence[Check]) -> tuple[Schema, bool]:
    """The schema under the rules of its field, and whether the field must be set."""
    must = False
    for check in checks:
        match check:
            case Equal():
                schema, must = {"const": check.value}, True
            case Required():
                schema, must = schema | ({"minLength": 1} if schema.get("type") == "string" else {}), True
            case Length():
                schema, must = schema | {"minLength": check.at_least}, True
            case AtLeast():
                schema, must = schema | {"minimum": check.number}, True
            case Pattern():
                schema = schema | {"pattern": check.expression}
    return schema, must


def _or_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str):
        return schema | {"type": [schema["type"], "null"]}
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], *([] if None in schema["enum"] else [None])]}
    return {"anyOf": [schema, {"type": "null"}]}


def _set(**fields: Schema) -> Schema:
    return {"type": "object", "required": list(fields), "properties": fields}


def _full(field: FieldDescriptor) -> str:
    return ".".join(field.full_name.split(".")[-2:])


_NOT_EMPTY = {"type": "string", "minLength": 1}
_PLACES = [
    _set(spec=_set(session_id=_NOT_EMPTY)),
    _set(spec=_set(agent_id=_NOT_EMPTY)),
    _set(metadata=_set(annotations=_set(**{"agent-runner/graph": _NOT_EMPTY}))),
]
