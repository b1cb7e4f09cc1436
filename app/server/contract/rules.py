"""The published contract's validation rules, as one table, and `validate`, which applies them to any message.

A rule belongs to a field of a message type. So it holds wherever a message of that type occurs: at the top, nested, in
a list or as a value of a map. A nested message that is not set is not checked; only `REQUIRED` demands it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from agent_runner.ai.stigmer.commons.apiresource import enum_pb2 as scope
from agent_runner.ai.stigmer.commons.apiresource.apiresourcekind import api_resource_kind_pb2 as kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A field that breaks a rule. `field` is its path from the top, `spec.sub_agents[0].name`; `text` is a sentence."""

    field: str
    text: str


def validate(message: Message) -> list[Violation]:
    """All violations in `message` and below it, in the order of the fields; empty when the message may be used."""
    return list(_violations(message, ""))


# The checks. A value is what protobuf gives: unset scalars are "" or 0, a message that is not set is None.


class Check(Protocol):
    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]: ...


@dataclass(frozen=True, slots=True)
class Required:
    """A message must be set, a scalar must not be empty. If not, the other rules of the field are not tried."""

    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
        if value is None or (field.message_type is None and not value):
            yield Violation(field=path, text=f"{path} is required")


@dataclass(frozen=True, slots=True)
class Equal:
    value: str

    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
        if value != self.value:
            got = f'not "{value[:80]}"' if value else "and is not set"
            yield Violation(field=path, text=f'{path} must be "{self.value}", {got}')


@dataclass(frozen=True, slots=True)
class Length:
    """In characters, not bytes."""

    at_least: int

    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
        if not value and self.at_least == 1:
            yield Violation(field=path, text=f"{path} must not be empty")
        elif len(value) < self.at_least:
            text = f"{path} must have at least {self.at_least} characters; it has {len(value)}"
            yield Violation(field=path, text=text)


@dataclass(frozen=True, slots=True)
class AtLeast:
    number: int

    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
        if value < self.number:
            yield Violation(field=path, text=f"{path} must be at least {self.number}; it is {value}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """The expression is anchored; `says` tells in words what it allows."""

    expression: str
    says: str

    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
        # Not search: in Python `$` also matches before a newline at the end, in the contract it does not.
        if re.fullmatch(self.expression, value) is None:
            yield Violation(field=path, text=f"{path} must be {self.says}")


@dataclass(frozen=True, slots=True)
class Defined:
    """The number must be one of the enum's values. 0 is one of them."""

    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
        assert field.enum_type is not None, f"{field.full_name} is not an enum"
        values = field.enum_type.values_by_number
        if value not in values:
            known = ", ".join(f"{name.name} ({number})" for number, name in sorted(values.items()))
            yield Violation(field=path, text=f"{path} is {value}, which is not one of {known}")


@dataclass(frozen=True, slots=True)
class OneOf:
    """`field` of the message must be one of `values`. The contract has a name and a text for each such rule."""

    field: str
    values: tuple[int, ...]
    name: str
    says: str

    @property
    def default(self) -> str:
        """The default of our own interfaces; empty: a value is required. The contract itself has no default."""
        ours = self.field == "owner_scope" and scope.organization in self.values
        return scope.ApiResourceOwnerScope.Name(scope.organization) if ours else ""

    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
        if getattr(value, self.field) not in self.values:
            names = value.DESCRIPTOR.fields_by_name[self.field].enum_type.values_by_number
            wanted = " or ".join(f"{self.field}: {names[number].name}" for number in self.values if number)
            todo = f"write {wanted}" if wanted else f"leave {self.field} out"
            yield Violation(field=f"{path}.{self.field}", text=f"{self.says}; {todo}")


@dataclass(frozen=True, slots=True)
class EachItem:
    check: Check

    def violations(self, path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
        for index, item in enumerate(value):
            yield from self.check.violations(f"{path}[{index}]", item, field)


REQUIRED = Required()
NOT_EMPTY = Length(1)
DEFINED = Defined()
API_VERSION = Equal("agentic.stigmer.ai/v1")
TAG = Pattern(r"^$|^[a-zA-Z0-9._-]+$", "empty, or of letters, digits, '.', '_' and '-'")
VERSION = Pattern(
    r"^$|^latest$|^[a-zA-Z0-9._-]+$|^[a-f0-9]{64}$",
    "empty, \"latest\", a tag of letters, digits, '.', '_' and '-', or a hash of 64 hexadecimal digits",
)
HASH = Pattern(r"^[a-f0-9]{64}$", "a hash of 64 hexadecimal digits in lower case")


def _owner(*scopes: int, name: str, says: str) -> OneOf:
    return OneOf("owner_scope", scopes, name, says)


PLATFORM_OR_ORG = (scope.platform, scope.organization)
ORG_OR_IDENTITY = (scope.organization, scope.identity_account)
UNSPECIFIED = (scope.api_resource_owner_scope_unspecified,)
SKILLS = EachItem(
    OneOf("kind", (kind.skill,), "skill_refs.kind", "skill_refs must reference resources with kind=skill")
)
# The contract's expression says 52, the number that environment had before; its text and its enum say environment: 53.
ENVIRONMENTS = EachItem(
    OneOf(
        "kind",
        (kind.environment,),
        "environment_refs.kind",
        "environment_refs must reference resources with kind=environment",
    )
)


@dataclass(frozen=True, slots=True)
class Rule:
    """The checks of one field, in the order in which they are tried. `field` is a full name without `ai.stigmer.`."""

    field: str
    checks: tuple[Check, ...]


def _rule(field: str, *checks: Check) -> Rule:
    return Rule(field, checks)


RULES: tuple[Rule, ...] = (
    # agents
    _rule("agentic.agent.v1.Agent.api_version", API_VERSION),
    _rule("agentic.agent.v1.Agent.kind", Equal("Agent")),
    _rule(
        "agentic.agent.v1.Agent.metadata",
        REQUIRED,
        _owner(
            *PLATFORM_OR_ORG,
            name="agent.owner_scope.platform_or_org_only",
            says="Agent resources can only have platform or organization scope",
        ),
    ),
    _rule("agentic.agent.v1.AgentId.value", REQUIRED),
    _rule("agentic.agent.v1.AgentSpec.instructions", Length(10)),
    _rule("agentic.agent.v1.AgentSpec.skill_refs", SKILLS),
    _rule("agentic.agent.v1.DockerServer.image", REQUIRED),
    _rule("agentic.agent.v1.HttpServer.url", REQUIRED),
    _rule("agentic.agent.v1.McpServerDefinition.name", REQUIRED),
    _rule("agentic.agent.v1.PortMapping.host_port", AtLeast(1)),
    _rule("agentic.agent.v1.PortMapping.container_port", AtLeast(1)),
    _rule("agentic.agent.v1.StdioServer.command", REQUIRED),
    _rule("agentic.agent.v1.SubAgent.name", REQUIRED),
    _rule("agentic.agent.v1.SubAgent.instructions", Length(10)),
    _rule("agentic.agent.v1.SubAgent.skill_refs", SKILLS),
    _rule("agentic.agent.v1.VolumeMount.host_path", REQUIRED),
    _rule("agentic.agent.v1.VolumeMount.container_path", REQUIRED),
    # executions
    _rule("agentic.agentexecution.v1.AgentExecution.api_version", API_VERSION),
    _rule("agentic.agentexecution.v1.AgentExecution.kind", Equal("AgentExecution")),
    _rule(
        "agentic.agentexecution.v1.AgentExecution.metadata",
        REQUIRED,
        _owner(
            *UNSPECIFIED,
            name="agent_execution.owner_scope.unspecified_only",
            says="AgentExecution owner_scope must be unspecified (inherits premission from session)",
        ),
    ),
    _rule("agentic.agentexecution.v1.AgentExecutionId.value", REQUIRED),
    _rule("agentic.agentexecution.v1.AgentExecutionSpec.message", NOT_EMPTY),
    _rule("agentic.agentexecution.v1.AgentExecutionStatus.phase", DEFINED),
    _rule("agentic.agentexecution.v1.AgentExecutionUpdateStatusInput.execution_id", NOT_EMPTY),
    _rule("agentic.agentexecution.v1.AgentExecutionUpdateStatusInput.status", REQUIRED),
    _rule("agentic.agentexecution.v1.AgentMessage.type", DEFINED),
    _rule("agentic.agentexecution.v1.ListAgentExecutionsBySessionRequest.session_id", REQUIRED),
    _rule("agentic.agentexecution.v1.SessionId.value", REQUIRED),
    _rule("agentic.agentexecution.v1.SubAgentExecution.status", DEFINED),
    _rule("agentic.agentexecution.v1.ToolCall.status", DEFINED),
    # agent instances
    _rule("agentic.agentinstance.v1.AgentInstance.api_version", API_VERSION),
    _rule("agentic.agentinstance.v1.AgentInstance.kind", Equal("AgentInstance")),
    _rule("agentic.agentinstance.v1.AgentInstance.metadata", REQUIRED),
    _rule("agentic.agentinstance.v1.AgentInstanceId.value", REQUIRED),
    _rule("agentic.agentinstance.v1.AgentInstanceSpec.agent_id", NOT_EMPTY),
    _rule("agentic.agentinstance.v1.AgentInstanceSpec.environment_refs", ENVIRONMENTS),
    _rule("agentic.agentinstance.v1.GetAgentInstancesByAgentRequest.agent_id", REQUIRED),
    # environments and execution contexts
    _rule("agentic.environment.v1.Environment.api_version", API_VERSION),
    _rule("agentic.environment.v1.Environment.kind", Equal("Environment")),
    _rule(
        "agentic.environment.v1.Environment.metadata",
        REQUIRED,
        _owner(
            *ORG_OR_IDENTITY,
            name="environment.owner_scope.org_or_identity_only",
            says="Environment resources can only have organization or identity_account scope",
        ),
    ),
    _rule("agentic.environment.v1.EnvironmentId.value", REQUIRED),
    _rule("agentic.executioncontext.v1.ExecutionContext.api_version", API_VERSION),
    _rule("agentic.executioncontext.v1.ExecutionContext.kind", Equal("ExecutionContext")),
    _rule(
        "agentic.executioncontext.v1.ExecutionContext.metadata",
        REQUIRED,
        _owner(
            *UNSPECIFIED,
            name="execution_context.owner_scope.unspecified_only",
            says="ExecutionContext owner_scope must be unspecified (operator-managed resource)",
        ),
    ),
    _rule("agentic.executioncontext.v1.ExecutionContextId.value", REQUIRED),
    _rule("agentic.executioncontext.v1.ExecutionContextSpec.execution_id", NOT_EMPTY),
    _rule("agentic.executioncontext.v1.ExecutionValue.value", NOT_EMPTY),
    # sessions
    _rule("agentic.session.v1.AgentId.value", REQUIRED),
    _rule("agentic.session.v1.ListSessionsByAgentRequest.agent_id", REQUIRED),
    _rule("agentic.session.v1.Session.api_version", API_VERSION),
    _rule("agentic.session.v1.Session.kind", Equal("Session")),
    _rule(
        "agentic.session.v1.Session.metadata",
        REQUIRED,
        _owner(
            *ORG_OR_IDENTITY,
            name="session.owner_scope.org_or_identity_only",
            says="Session resources can only have organization or identity_account scope",
        ),
    ),
    _rule("agentic.session.v1.SessionId.value", REQUIRED),
    _rule("agentic.session.v1.SessionSpec.agent_instance_id", REQUIRED),
    # skills
    _rule("agentic.skill.v1.GetArtifactRequest.artifact_storage_key", REQUIRED),
    _rule("agentic.skill.v1.PushSkillRequest.name", REQUIRED),
    _rule("agentic.skill.v1.PushSkillRequest.scope", DEFINED),
    _rule("agentic.skill.v1.PushSkillRequest.artifact", REQUIRED),
    _rule("agentic.skill.v1.PushSkillRequest.tag", TAG),
    _rule("agentic.skill.v1.Skill.api_version", API_VERSION),
    _rule("agentic.skill.v1.Skill.kind", Equal("Skill")),
    _rule(
        "agentic.skill.v1.Skill.metadata",
        REQUIRED,
        _owner(
            *PLATFORM_OR_ORG,
            name="skill.owner_scope.platform_or_org_only",
            says="Skill resources can only have platform or organization scope",
        ),
    ),
    _rule("agentic.skill.v1.SkillId.value", REQUIRED),
    _rule("agentic.skill.v1.SkillSpec.skill_md", NOT_EMPTY),
    _rule("agentic.skill.v1.SkillSpec.tag", TAG),
    _rule("agentic.skill.v1.SkillStatus.version_hash", HASH),
    # shared by all resources
    _rule("commons.apiresource.ApiResourceByOrgBySlugRequest.org", REQUIRED),
    _rule("commons.apiresource.ApiResourceByOrgBySlugRequest.slug", REQUIRED),
    _rule("commons.apiresource.ApiResourceDeleteInput.resource_id", REQUIRED),
    _rule("commons.apiresource.ApiResourceId.value", REQUIRED),
    _rule("commons.apiresource.ApiResourceMetadata.owner_scope", DEFINED),
    _rule("commons.apiresource.ApiResourceReference.scope", DEFINED),
    _rule("commons.apiresource.ApiResourceReference.version", VERSION),
    _rule("commons.apiresource.FindApiResourcesRequest.org", REQUIRED),
)

_CHECKS = {f"ai.stigmer.{rule.field}": rule.checks for rule in RULES}


def default_owner_scope(kind: Descriptor) -> str:
    """The owner scope that our own interfaces use if a resource of this kind names none; empty: no default."""
    checks = checks_of(kind.fields_by_name["metadata"])
    return next((check.default for check in checks if isinstance(check, OneOf) and check.default), "")


def checks_of(field: FieldDescriptor) -> tuple[Check, ...]:
    """The rules of one field, in the order in which they are tried."""
    return _CHECKS.get(field.full_name, ())


@cache
def _fields(descriptor: Descriptor) -> tuple[tuple[FieldDescriptor, tuple[Check, ...], bool], ...]:
    """The fields to check: each with its checks, and whether it holds messages that must be checked too."""
    rows = (
        (field, checks_of(field), _holds_messages(field))
        for field in sorted(descriptor.fields, key=lambda field: field.number)
    )
    return tuple(row for row in rows if row[1] or row[2])


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _holds_messages(field: FieldDescriptor) -> bool:
    content = field.message_type
    if content is not None and _is_map(field):
        content = content.fields_by_name["value"].message_type
    return content is not None and not content.full_name.startswith("google.protobuf.")


def _violations(message: Message, prefix: str) -> Iterator[Violation]:
    for field, checks, holds_messages in _fields(message.DESCRIPTOR):
        path = prefix + field.name
        value: Any = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            value = None
        for check in checks:
            broken = list(check.violations(path, value, field))
            yield from broken
            if value is None or (broken and check is REQUIRED):
                break
        if holds_messages and value is not None:
            yield from _below(path, value, field)


def _below(path: str, value: Any, field: FieldDescriptor) -> Iterator[Violation]:
    if isinstance(value, Message):
        yield from _violations(value, f"{path}.")
    elif _is_map(field):
        for key in sorted(value):
            yield from _violations(value[key], f'{path}["{key}"].')
    else:
        for index, item in enumerate(value):
            yield from _violations(item, f"{path}[{index}].")
