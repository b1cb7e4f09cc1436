"""Valid messages of each kind, with something in every part of the spec, as a client would send them."""

import re
from typing import Any, TypeVar

from google.protobuf.message import Message

from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_COMPLETED
from agent_runner.ai.stigmer.agentic.agentinstance.v1.api_pb2 import AgentInstance
from agent_runner.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from agent_runner.ai.stigmer.agentic.executioncontext.v1.api_pb2 import ExecutionContext
from agent_runner.ai.stigmer.agentic.session.v1.api_pb2 import Session
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import organization
from tests.contract.methods.facts import (
    AGENT,
    CONTEXT,
    ENVIRONMENT,
    EXECUTION,
    INSTANCE,
    SESSION,
    SKILL,
    Kind,
)

API_VERSION = "agentic.stigmer.ai/v1"
REDACTED = "***"
Made = TypeVar("Made", bound=Message)
_UNSCOPED = (EXECUTION, CONTEXT)
"""Kinds whose owner scope must stay unspecified."""


def agent(org: str, token: str) -> Agent:
    draft = _described(Agent, AGENT, org, token)
    draft.spec.description, draft.spec.icon_url = "Helps", "https://example.org/icon.svg"
    draft.spec.instructions = "Help people with their code."
    draft.spec.mcp_servers.add(name="files", enabled_tools=["read"]).stdio.command = "files-server"
    draft.spec.skill_refs.add(kind=SKILL.number, scope=organization, org=org, slug="reading", version="v1.0_rc-2")
    draft.spec.sub_agents.add(name="part", description="A part", instructions="Do a small part of it.")
    _put_values(draft.spec.env_spec.data)
    return draft


def instance(org: str, token: str, agent_id: str) -> AgentInstance:
    draft = _described(AgentInstance, INSTANCE, org, token)
    draft.spec.agent_id, draft.spec.description = agent_id, "For production"
    draft.spec.environment_refs.add(kind=ENVIRONMENT.number, scope=organization, org=org, slug="prod")
    return draft


def session(org: str, token: str, instance_id: str) -> Session:
    draft = _described(Session, SESSION, org, token)
    draft.spec.agent_instance_id, draft.spec.subject = instance_id, "A subject"
    draft.spec.metadata["ticket"] = "4711"
    return draft


def environment(org: str, token: str) -> Environment:
    draft = _described(Environment, ENVIRONMENT, org, token)
    draft.spec.description = "Of production"
    _put_values(draft.spec.data)
    return draft


def context(org: str, token: str, execution_id: str) -> ExecutionContext:
    draft = _described(ExecutionContext, CONTEXT, org, token)
    draft.spec.execution_id = execution_id
    _put_values(draft.spec.data)
    return draft


def execution(org: str, token: str, agent_id: str) -> AgentExecution:
    draft = _described(AgentExecution, EXECUTION, org, token)
    draft.spec.agent_id, draft.spec.message = agent_id, f"What is in {token}?"
    draft.spec.execution_config.model_name = "demo"
    draft.spec.callback_token = b"\x00token"
    _put_values(draft.spec.runtime_env)
    return draft


def slug_of(name: str) -> str:
    """What the name of a draft amounts to."""
    found = re.fullmatch(r"The One, of ([0-9a-f]+)!", name)
    assert found is not None
    return f"the-one-of-{found[1]}"


def changed(made: Any) -> Any:
    """What was made, with another description and another spec, as a caller sends it who may change it; the spec of an
    execution is fixed. The status is forged."""
    wanted = type(made)()
    wanted.CopyFrom(made)
    wanted.metadata.labels["team"], wanted.metadata.labels["more"] = "red", "yes"
    wanted.metadata.tags[:] = ["third"]
    wanted.metadata.annotations.clear()
    _forge(wanted.status)
    spec = wanted.spec
    match made.kind:
        case AGENT.name:
            spec.description, spec.instructions = "Helps more", "Help people with all of their code."
            del spec.sub_agents[:]
            spec.env_spec.data["MORE"].value = "new"
        case INSTANCE.name:
            spec.description = "For tests"
            del spec.environment_refs[:]
        case SESSION.name:
            spec.subject, spec.metadata["ticket"] = "Another subject", "4712"
        case ENVIRONMENT.name | CONTEXT.name:
            spec.data["MORE"].value = "new"
            del spec.data["PLAIN"]
    return wanted


def shown(spec: Any) -> Any:
    """A spec as an answer shows it: no secret values."""
    seen = type(spec)()
    seen.CopyFrom(spec)
    for values in (getattr(seen, "data", None), getattr(seen, "runtime_env", None)):
        _redact(values)
    if seen.DESCRIPTOR.name == "AgentSpec":
        _redact(seen.env_spec.data)
    return seen


def _described(make: type[Made], kind: Kind, org: str, token: str) -> Made:
    made = make(api_version=API_VERSION, kind=kind.name)
    draft: Any = made
    draft.metadata.name, draft.metadata.org = f"The One, of {token}!", org
    if kind not in _UNSCOPED:
        draft.metadata.owner_scope = organization
    draft.metadata.labels["team"] = "blue"
    draft.metadata.annotations["note"] = "for tests"
    draft.metadata.tags.extend(["first", "second"])
    _forge(draft.status)
    return made


def _forge(status: Any) -> None:
    """What a caller never may write; an answer must not show it."""
    status.audit.spec_audit.event, status.audit.spec_audit.created_at.seconds = "forged", 1
    fields = status.DESCRIPTOR.fields_by_name
    if "default_instance_id" in fields:
        status.default_instance_id = "ain-forged"
    if "phase" in fields:
        status.phase, status.error, status.started_at = EXECUTION_COMPLETED, "forged", "forged"
        status.messages.add(type=2, content="forged")
        status.todos["1"].content = "forged"


def _put_values(data: Any) -> None:
    data["PLAIN"].value = "seen"
    data["TOKEN"].value, data["TOKEN"].is_secret = "hunter2-contract", True


def _redact(data: Any) -> None:
    for value in (data or {}).values():
        if value.is_secret:
            value.value = REDACTED
