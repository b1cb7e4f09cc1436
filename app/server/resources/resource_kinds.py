"""The kinds of resources, as a table: message type, parent, where secret values are, where the HTTP API shows them."""

from dataclasses import dataclass

from google.protobuf.message import Message

from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.agentic.agentinstance.v1.api_pb2 import AgentInstance
from agent_runner.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from agent_runner.ai.stigmer.agentic.executioncontext.v1.api_pb2 import ExecutionContext
from agent_runner.ai.stigmer.agentic.session.v1.api_pb2 import Session
from agent_runner.ai.stigmer.agentic.skill.v1.api_pb2 import Skill
from agent_runner.status.store.records import ResourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    kind: ResourceKind
    message: type[Message]
    route: str
    """The HTTP collection; empty when there is none."""
    parent_field: str = ""
    """The field of the spec that names the parent."""
    parent: ResourceKind | None = None
    secrets: tuple[str, ...] = ()
    """The path of the map of values, some of which are secret."""


DEFINITIONS = {
    d.kind: d
    for d in (
        Definition(kind=ResourceKind.AGENT, message=Agent, route="agents", secrets=("spec", "env_spec", "data")),
        Definition(
            kind=ResourceKind.AGENT_INSTANCE,
            message=AgentInstance,
            route="agent-instances",
            parent_field="agent_id",
            parent=ResourceKind.AGENT,
        ),
        Definition(
            kind=ResourceKind.SESSION,
            message=Session,
            route="sessions",
            parent_field="agent_instance_id",
            parent=ResourceKind.AGENT_INSTANCE,
        ),
        Definition(kind=ResourceKind.SKILL, message=Skill, route="skills"),
        Definition(kind=ResourceKind.ENVIRONMENT, message=Environment, route="environments", secrets=("spec", "data")),
        Definition(
            kind=ResourceKind.EXECUTION_CONTEXT,
            message=ExecutionContext,
            route="",
            parent_field="execution_id",
            secrets=("spec", "data"),
        ),
    )
}
