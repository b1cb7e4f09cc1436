"""The answer to a claim: everything that a run needs, so that a worker reads no database.

It finds session -> instance -> agent, and the version of each skill. It merges the environment in layers: the agent's,
then the instance's references in order, then the execution's own. If something cannot be resolved any more, the text
goes into `bundle_error`, with the code that the run ends with. References are looked up at the same time.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import ApiResourceOwnerScope
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.app.server.access.allow_lists import allows
from agent_runner.app.server.agent_server.uuids import run_uuid
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.executions.drafts.attachments import give_attachments
from agent_runner.app.server.executions.drafts.draft import spoken
from agent_runner.app.server.executions.drafts.run_config import merged
from agent_runner.app.server.executions.view import CREATED_BY
from agent_runner.app.server.problems import Problem
from agent_runner.app.server.resources.archives import Artifacts
from agent_runner.app.server.resources.sealing import EnvValue, SealBroken, too_many_secrets
from agent_runner.app.server.resources.stored_messages import session_message, stored_message
from agent_runner.clients.models.budget import ANNOTATION as BUDGET
from agent_runner.clients.models.budget import BudgetError, merged_budget, spent_in
from agent_runner.clients.skills.archive import in_folders
from agent_runner.status.failures import Code
from agent_runner.status.requests.model_order import ANNOTATION as FALLBACKS
from agent_runner.status.requests.model_order import ModelOrderError, merged_models, names_of
from agent_runner.status.store.records import Execution, Resource, ResourceKind
from agent_runner.status.store.rows import dumps
from agent_runner.status.store.run_records import Bundle, Claimed
from agent_runner.v1 import runner_pb2 as pb


class BundleError(Exception):
    """Something that the run needs is gone; the text names it. `what` is the skill or the environment."""

    def __init__(self, text: str, *, code: Code = Code.SYSTEM, what: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.what = what


async def claim_reply(ctx: ServerContext, claimed: Claimed, *, takes_attachments: bool = True) -> pb.ClaimReply:
    execution, bundle = claimed.execution, claimed.bundle
    assert execution is not None  # a granted claim has both
    assert bundle is not None
    human = bundle.message
    beside = human.get("metadata", {})
    given, answers = beside.get("input"), beside.get("answers")
    reply = pb.ClaimReply(
        granted=True,
        handle=execution.handle,
        fence=execution.fence,
        attempt=execution.attempt,
        next_delta=execution.runner_seq,
        thread_id=execution.thread_id,
        head_checkpoint_id=claimed.head_checkpoint_id,
        resume=claimed.resume,
        previous_code=claimed.previous_code,
        untold_execution_id=claimed.untold_execution_id,
        go_on_if_found=claimed.go_on_if_found,
        start_to_close_s=execution.timeouts.start_to_close_s,
        heartbeat_s=execution.timeouts.heartbeat_s,
        settle_grace_s=execution.timeouts.settle_grace_s,
        message=str(human.get("content", "")) if spoken(human) else "",
        input_json="" if given is None else dumps(given),
        answers_json=dumps(answers) if answers else "",
        waiting=bundle.waiting,
        rolled_back=list(claimed.rolled_back),
        asked_json=_asked(execution, human),
        model_name=execution.model_name,
        graph=execution.graph,
        sandbox_id=claimed.sandbox_id,
        max_tool_result_bytes=ctx.settings.max_tool_result_bytes,
        max_output_bytes=ctx.settings.max_output_bytes,
        max_encoded_bytes=ctx.settings.max_encoded_bytes,
        org=execution.org,
        session_id=execution.session_id,
        caller=str(execution.spec.get(CREATED_BY, "")),
    )
    if not (claimed.resume and claimed.head_checkpoint_id):
        await give_attachments(ctx, execution.id, human.get("layout") or (), reply, apart=takes_attachments)
    try:
        env = await _resolve(ctx, execution, bundle, reply)
        if too_many := too_many_secrets(env.values()):
            raise BundleError(too_many, code=Code.ENVIRONMENT, what="all layers together")
    except BundleError as error:
        reply.bundle_error = str(error)
        reply.bundle_error_code = error.code.value
        reply.bundle_error_what = error.what
    else:
        for name, value in env.items():
            reply.env[name] = value.value
        reply.secret_names.extend(name for name, value in env.items() if value.is_secret)
        _give_config(ctx, execution, reply)
        await _give_spent(ctx, execution, reply)
    return reply


def _asked(execution: Execution, human: Mapping[str, Any]) -> str:
    """What a client of LangGraph's API asks of the run, with the id by which it knows the run."""
    asked = human.get("asked")
    if asked is None:
        return ""
    return dumps({**asked, "facts": {**(asked.get("facts") or {}), "run_id": run_uuid(execution.id)}})


def _give_config(ctx: ServerContext, execution: Execution, reply: pb.ClaimReply) -> None:
    """Context, config, budget and models of the run. The execution's values override the agent's; of a budget the lower
    ones count."""
    own = execution.spec.get("metadata", {}).get("annotations", {})
    try:
        context, config = merged(reply.agent.metadata.annotations, own)
        limits = merged_budget(reply.agent.metadata.annotations, own)
        models = merged_models(reply.agent.metadata.annotations, own)
    except (Problem, BudgetError, ModelOrderError) as problem:  # the agent was stored by a version without this check
        detail = problem.detail if isinstance(problem, Problem) else str(problem)
        reply.bundle_error = f"agent '{reply.agent.metadata.slug}': {detail}"
        return
    if limits:
        reply.agent.metadata.annotations.update(limits)
    if models is not None:
        reply.agent.metadata.annotations[FALLBACKS] = models
    _check_models(ctx, execution, reply)
    reply.context_json = "" if context is None else dumps(context)
    reply.config_json = dumps(config) if config else ""


async def _give_spent(ctx: ServerContext, execution: Execution, reply: pb.ClaimReply) -> None:
    """What earlier owners of the execution did, so that another attempt or another worker gets no new budget. The log
    says it; it is read only where there is a limit."""
    begun = execution.attempt > 1 or reply.resume
    found = await ctx.store.state(execution.id) if begun and reply.agent.metadata.annotations.get(BUDGET) else None
    if found is not None:
        reply.spent_json = dumps(spent_in(found[1].messages, found[1].tool_calls))


def _check_models(ctx: ServerContext, execution: Execution, reply: pb.ClaimReply) -> None:
    """The agent may name other models now than when the execution was accepted."""
    entries, agent = ctx.settings.allowed_models, reply.agent.metadata.slug
    names = names_of(reply.agent.metadata.annotations.get(FALLBACKS, "")) or ()
    for name in names if entries else ():
        if not allows(entries, execution.org, agent, name):
            reply.bundle_error = (
                f"model '{name}' of {FALLBACKS} is not allowed for agent '{agent}' of org '{execution.org}'"
                " (AGENT_RUNNER_ALLOWED_MODELS)"
            )
            return


async def _resolve(
    ctx: ServerContext, execution: Execution, bundle: Bundle, reply: pb.ClaimReply
) -> dict[str, EnvValue]:
    """Fill in session, agent and skills. Returns the merged environment."""
    env: dict[str, EnvValue] = {}
    if execution.session_id:
        session = _there(bundle.session, ResourceKind.SESSION, execution.session_id)
        reply.session.CopyFrom(session_message(session.body))
        if bundle.instance is None and execution.agent_id:
            # A deleted agent takes its default instance with it. Then the error names the agent.
            agent_id = execution.agent_id
            _there(await ctx.store.get_resource(ResourceKind.AGENT, agent_id), ResourceKind.AGENT, agent_id)
        instance = _there(bundle.instance, ResourceKind.AGENT_INSTANCE, session.parent_id)
        agent = _there(bundle.agent, ResourceKind.AGENT, instance.parent_id)
        message = _agent(agent)
        references = [_reference(r) for r in instance.body.get("spec", {}).get("environment_refs", [])]
        layers, skills = await asyncio.gather(
            _all(_environment(ctx, r, execution.org) for r in references),
            _all(_skill(ctx, r, execution.org, who) for r, who in _skill_refs(message)),
        )
        env |= _opened(ctx, agent.body.get("spec", {}).get("env_spec", {}), f"env_spec of agent {agent.slug}")
        for layer in layers:
            env |= layer
        reply.skills.extend(in_folders(skills))
        reply.agent.CopyFrom(message)
    try:
        return env | ctx.sealing.open_env(execution.sealed_env)
    except SealBroken as error:
        raise _broken(error, "runtime_env of the execution") from None


def _there(found: Resource | None, kind: ResourceKind, id: str) -> Resource:
    if found is None:
        raise BundleError(f"{kind.value} {id} does not exist any more")
    return found


async def _all(lookups: Iterable[Any]) -> list[Any]:
    """The answers in order. Of several errors it raises the first in order."""
    answers = await asyncio.gather(*lookups, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


async def _environment(ctx: ServerContext, reference: ApiResourceReference, org: str) -> dict[str, EnvValue]:
    found = await _referenced(ctx, ResourceKind.ENVIRONMENT, reference, org)
    return _opened(ctx, found.body.get("spec", {}), reference.slug)


async def _skill(ctx: ServerContext, reference: ApiResourceReference, org: str, sub_agent: str) -> pb.RunSkill:
    skill = await _referenced(ctx, ResourceKind.SKILL, reference, org)
    try:
        artifacts = Artifacts(ctx.store)
        version = await artifacts.version(skill, reference.version)
        front = await artifacts.front(version)
    except Problem as error:
        raise BundleError(str(error), code=Code.SKILL, what=reference.slug) from None
    if "error" in front:
        raise BundleError(front["error"], code=Code.SKILL, what=reference.slug)
    return pb.RunSkill(
        name=front["name"] or skill.body.get("metadata", {}).get("name", "") or skill.slug,
        description=front["description"],
        folder=skill.slug,
        version_hash=version.version_hash,
        artifact_key=version.artifact_key,
        sub_agent=sub_agent,
    )


async def _referenced(ctx: ServerContext, kind: ResourceKind, reference: ApiResourceReference, org: str) -> Resource:
    """The resource of a reference. Its org was checked when the reference was written."""
    code = Code.SKILL if kind is ResourceKind.SKILL else Code.ENVIRONMENT
    owner = "" if reference.scope == ApiResourceOwnerScope.platform else reference.org or org
    found = await ctx.store.find_resource(kind, owner, reference.slug)
    if found is None:
        where = f"in org {owner!r}" if owner else "on the platform"
        raise BundleError(f"it does not exist {where}, or not any more", code=code, what=reference.slug)
    return found


def _reference(given: Mapping[str, Any]) -> ApiResourceReference:
    return json_format.ParseDict(dict(given), ApiResourceReference(), ignore_unknown_fields=True)


def _skill_refs(agent: Agent) -> list[tuple[ApiResourceReference, str]]:
    """(reference, the name of the sub-agent that has it, or '')."""
    own = [(reference, "") for reference in agent.spec.skill_refs]
    return own + [(reference, sub.name) for sub in agent.spec.sub_agents for reference in sub.skill_refs]


def _opened(ctx: ServerContext, holder: Mapping[str, Any], what: str) -> dict[str, EnvValue]:
    try:
        return ctx.sealing.open_data(holder.get("data", {}))
    except SealBroken as error:
        raise _broken(error, what) from None


def _broken(error: SealBroken, what: str) -> BundleError:
    return BundleError(f"a secret cannot be read: {error}", code=Code.ENVIRONMENT, what=what)


def _agent(resource: Resource) -> Agent:
    """The agent without its environment: values travel once, in `env`."""
    agent = Agent()
    agent.CopyFrom(stored_message(resource, Agent))
    agent.spec.ClearField("env_spec")
    return agent
