"""Collects the data that a run needs with calls of the contract only, in the form of the runner service's ClaimReply.

Session, agent instance and agent are read one after the other; then environments and skills at the same time. A
resource that cannot be resolved is named in `bundle_error`, and the run ends with that error. Raises
ContractUnavailable.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import MessageType
from agent_runner.ai.stigmer.agentic.skill.v1.api_pb2 import Skill
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import ApiResourceOwnerScope
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ContractError, ContractUnavailable, UnresolvedReference
from agent_runner.clients.contract.clients import ContractClients
from agent_runner.clients.models.budget import BudgetError, merged_budget
from agent_runner.clients.skills.archive import SkillArchiveError, in_folders, read_skill_md
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.status.requests.model_order import ANNOTATION as FALLBACKS
from agent_runner.status.requests.model_order import ModelOrderError, merged_models
from agent_runner.status.run_config import RunConfigError, merged
from agent_runner.status.timeouts import Timeouts, TimeoutsError
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

GRAPH, TIMEOUTS, INPUT = "agent-runner/graph", "agent-runner/timeouts", "agent-runner/input"
REDACTED = "***"
"""What a server shows in place of a secret that it does not give away."""

Found = TypeVar("Found")


ATTACHED = (
    "it was sent pictures or files, and the published contract has no way to bring them to a worker:"
    " run it on a worker with AGENT_RUNNER_REPORTING=native"
)


class Value(Protocol):
    """A variable of an environment or of an execution."""

    @property
    def value(self) -> str: ...
    @property
    def is_secret(self) -> bool: ...


class Unresolved(Exception):
    """A resource that the run needs cannot be resolved. `what` is the skill or the environment."""

    def __init__(self, text: str, *, code: Code = Code.SYSTEM, what: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.what = what


async def bundle(
    clients: ContractClients, settings: "Settings", execution: AgentExecution, patience: Patience
) -> pb.ClaimReply:
    """The part of the ClaimReply that can be read; the caller fills in handle, fence, attempt, sandbox, thread and
    head."""
    annotations = execution.metadata.annotations
    timeouts = _timeouts(settings, annotations.get(TIMEOUTS, ""))
    given_input = _input(execution)
    reply = pb.ClaimReply(
        granted=True,
        start_to_close_s=timeouts.start_to_close_s,
        heartbeat_s=timeouts.heartbeat_s,
        settle_grace_s=timeouts.settle_grace_s,
        message=execution.spec.message,
        input_json="" if given_input is None else json.dumps(given_input, ensure_ascii=False),
        model_name=execution.spec.execution_config.model_name,
        graph=annotations.get(GRAPH, ""),
        max_tool_result_bytes=settings.max_tool_result_bytes,
        max_output_bytes=settings.max_output_bytes,
        max_encoded_bytes=settings.max_encoded_bytes,
        org=execution.metadata.org,
    )
    if any("attachments" in message.metadata for message in execution.status.messages):
        reply.bundle_error = ATTACHED
        return reply
    reply.caller = execution.status.audit.spec_audit.created_by.id
    try:
        env = await _resolve(clients, execution, reply, patience)
    except Unresolved as error:
        reply.bundle_error = str(error)
        reply.bundle_error_code = error.code.value
        reply.bundle_error_what = error.what
    else:
        for name, value in env.items():
            reply.env[name] = value.value
        reply.secret_names.extend(name for name, value in env.items() if value.is_secret)
    return reply


async def _resolve(
    clients: ContractClients, execution: AgentExecution, reply: pb.ClaimReply, patience: Patience
) -> dict[str, Value]:
    """Fill in session, agent and skills; return the environment, merged from its layers."""
    layers: list[tuple[str, Mapping[str, Value]]] = []
    agents_own: Mapping[str, str] = {}
    if session_id := execution.spec.session_id:
        session = await _need(clients.sessions.get(session_id, patience=patience), f"session {session_id}")
        reply.session.CopyFrom(session)
        instance_id = session.spec.agent_instance_id
        instance = await _need(
            clients.agent_instances.get(instance_id, patience=patience), f"agent instance {instance_id}"
        )
        agent_id = instance.spec.agent_id
        agent = await _need(clients.agents.get(agent_id, patience=patience), f"agent {agent_id}")
        agents_own = agent.metadata.annotations
        reply.graph = reply.graph or agent.metadata.annotations.get(GRAPH, "")
        org = execution.metadata.org
        owners = [(ref, "") for ref in agent.spec.skill_refs]
        owners += [(ref, sub.name) for sub in agent.spec.sub_agents for ref in sub.skill_refs]
        environments, skills = await _together(
            clients.environments.list_by_refs(_of(org, instance.spec.environment_refs), patience=patience),
            clients.skills.list_by_refs(_of(org, [ref for ref, _ in owners]), patience=patience),
        )
        layers.append((f"env_spec of agent {agent.metadata.slug}", dict(agent.spec.env_spec.data)))
        layers += [(found.metadata.slug, dict(found.spec.data)) for found in environments]
        reply.skills.extend(in_folders(_run_skill(s, who) for s, (_, who) in zip(skills, owners, strict=True)))
        reply.agent.CopyFrom(agent)
        # Values are sent once, in the merged environment.
        reply.agent.spec.ClearField("env_spec")
    _give_graph(reply, agents_own, execution.metadata.annotations)
    layers.append(("runtime_env of the execution", dict(execution.spec.runtime_env)))
    return _merged(layers)


def _give_graph(reply: pb.ClaimReply, agents_own: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Fill in context, config, budget and models from the annotations, which only our own server has checked. Raises
    Unresolved."""
    try:
        context, config = merged(agents_own, own)
        if limits := merged_budget(agents_own, own):
            reply.agent.metadata.annotations.update(limits)
        if (models := merged_models(agents_own, own)) is not None:
            reply.agent.metadata.annotations[FALLBACKS] = models
    except (RunConfigError, BudgetError, ModelOrderError) as error:
        raise Unresolved(str(error)) from None
    reply.context_json = "" if context is None else json.dumps(context, ensure_ascii=False)
    reply.config_json = json.dumps(config, ensure_ascii=False) if config else ""


async def _need(lookup: Awaitable[Found], what: str) -> Found:
    try:
        return await lookup
    except ContractUnavailable:
        raise
    except (ContractError, ValueError) as error:
        raise Unresolved(f"{what}: {error}") from error


async def _together(environments: Awaitable[list[Any]], skills: Awaitable[list[Any]]) -> tuple[list[Any], list[Any]]:
    answers = await asyncio.gather(environments, skills, return_exceptions=True)
    found = []
    for answer, code in zip(answers, (Code.ENVIRONMENT, Code.SKILL), strict=True):
        if isinstance(answer, UnresolvedReference):
            raise Unresolved(str(answer), code=code, what=answer.reference.slug) from answer
        if isinstance(answer, BaseException):
            raise answer
        found.append(answer)
    return found[0], found[1]


def _of(org: str, references: Iterable[ApiResourceReference]) -> list[ApiResourceReference]:
    """The references, with the execution's org where they name none; references of the platform stay as they are."""
    named = []
    for reference in references:
        whole = ApiResourceReference()
        whole.CopyFrom(reference)
        if not whole.org and whole.scope != ApiResourceOwnerScope.platform:
            whole.org = org
        named.append(whole)
    return named


def _merged(layers: Sequence[tuple[str, Mapping[str, Value]]]) -> dict[str, Value]:
    """Merge the layers; later ones win.

    Raises Unresolved for a secret that the server shows only as `***`: the agent could only fail with it.
    """
    env: dict[str, Value] = {}
    source: dict[str, str] = {}
    for what, values in layers:
        env |= values
        source |= dict.fromkeys(values, what)
    for name, value in env.items():
        if value.is_secret and value.value == REDACTED:
            text = f"the server shows its secret {name} only as {REDACTED}; secrets need AGENT_RUNNER_REPORTING=native"
            raise Unresolved(text, code=Code.ENVIRONMENT, what=source[name])
    return env


def _run_skill(skill: Skill, sub_agent: str) -> pb.RunSkill:
    slug = skill.metadata.slug
    try:
        text = read_skill_md(skill.spec.skill_md)
    except SkillArchiveError as error:
        raise Unresolved(str(error), code=Code.SKILL, what=slug) from None
    return pb.RunSkill(
        name=text.name or skill.metadata.name or slug,
        description=text.description,
        folder=re.sub(r"[^A-Za-z0-9_-]", "_", slug),
        version_hash=skill.status.version_hash,
        artifact_key=skill.status.artifact_storage_key,
        sub_agent=sub_agent,
    )


def _input(execution: AgentExecution) -> Any:
    """The JSON input of an execution without a message: from its annotation, or from the message of our own server."""
    if text := execution.metadata.annotations.get(INPUT, ""):
        return _json(text, INPUT)
    for message in execution.status.messages:  # other messages of the input may come before the user's
        if message.type == MessageType.MESSAGE_HUMAN and "input" in message.metadata:
            return json_format.MessageToDict(message.metadata)["input"]
    return None


def _timeouts(settings: "Settings", annotation: str) -> Timeouts:
    """The settings' timeouts, changed by the execution's annotation. An annotation with wrong values is ignored."""
    given = _json(annotation, TIMEOUTS) if annotation else {}
    try:
        return settings.timeouts.overridden(given or {}, max_run_s=settings.max_run_s)
    except (TimeoutsError, TypeError) as error:
        log.warning("annotation.not_followed", annotation=TIMEOUTS, error=error)
        return settings.timeouts


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        log.warning("annotation.not_json", annotation=name, error=error)
        return None
