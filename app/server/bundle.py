"""The answer to a claim: everything that a run needs, so that a worker reads no database.

Session -> instance -> agent, and the environment merged in layers: the agent's, then the instance's references in
order, then the execution's own. What cannot be resolved any more goes into `bundle_error`: the run ends E302 naming it.
"""

from collections.abc import Mapping
from typing import Any

from agent_runner.v1 import runner_pb2 as pb
from ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from google.protobuf import json_format

from app.server.context import ServerContext
from app.server.sealing import EnvValue, SealBroken
from status.store.ending import dumps
from status.store.records import Claimed, Execution, Resource, ResourceKind


class BundleError(Exception):
    """Something that the run needs is gone; the text names it."""


async def claim_reply(ctx: ServerContext, claimed: Claimed) -> pb.ClaimReply:
    execution = claimed.execution
    assert execution is not None  # a granted claim has one
    first = await ctx.store.read_log(execution.id, 0, 1)
    human: dict[str, Any] = first[0].payload if first else {}
    given = human.get("metadata", {}).get("input")
    reply = pb.ClaimReply(
        granted=True,
        handle=execution.handle,
        fence=execution.fence,
        attempt=execution.attempt,
        next_delta=execution.runner_seq,
        thread_id=execution.thread_id,
        head_checkpoint_id=claimed.head_checkpoint_id,
        resume=claimed.resume,
        start_to_close_s=execution.timeouts.start_to_close_s,
        heartbeat_s=execution.timeouts.heartbeat_s,
        settle_grace_s=execution.timeouts.settle_grace_s,
        message=str(human.get("content", "")),
        input_json="" if given is None else dumps(given),
        model_name=execution.model_name,
        graph=execution.graph,
        sandbox_id=claimed.sandbox_id,
        max_tool_result_bytes=ctx.settings.max_tool_result_bytes,
        org=execution.org,
    )
    try:
        env = await _resolve(ctx, execution, reply)
    except BundleError as error:
        reply.bundle_error = str(error)
    except SealBroken as error:
        reply.bundle_error = f"a secret cannot be read: {error}"
    else:
        for name, value in env.items():
            reply.env[name] = value.value
        reply.secret_names.extend(name for name, value in env.items() if value.is_secret)
    return reply


async def _resolve(ctx: ServerContext, execution: Execution, reply: pb.ClaimReply) -> dict[str, EnvValue]:
    """Fill in session and agent; give the merged environment."""
    env: dict[str, EnvValue] = {}
    if execution.session_id:
        session = await _need(ctx, ResourceKind.SESSION, execution.session_id)
        json_format.ParseDict(session.body, reply.session, ignore_unknown_fields=True)
        instance = await _need(ctx, ResourceKind.AGENT_INSTANCE, session.parent_id)
        agent = await _need(ctx, ResourceKind.AGENT, instance.parent_id)
        env |= _opened(ctx, agent.body.get("spec", {}).get("env_spec", {}))
        for reference in instance.body.get("spec", {}).get("environment_refs", []):
            slug, org = reference.get("slug", ""), reference.get("org", "") or execution.org
            found = await ctx.store.find_resource(ResourceKind.ENVIRONMENT, org, slug)
            if found is None:
                raise BundleError(f"environment {slug!r} of org {org!r} does not exist any more")
            env |= _opened(ctx, found.body.get("spec", {}))
        reply.agent.CopyFrom(_agent(agent))
    return env | ctx.sealing.open_env(execution.sealed_env)


async def _need(ctx: ServerContext, kind: ResourceKind, id: str) -> Resource:
    found = await ctx.store.get_resource(kind, id)
    if found is None:
        raise BundleError(f"{kind.value} {id} does not exist any more")
    return found


def _opened(ctx: ServerContext, holder: Mapping[str, Any]) -> dict[str, EnvValue]:
    return ctx.sealing.open_data(holder.get("data", {}))


def _agent(resource: Resource) -> Agent:
    """The agent without its environment: values travel once, in `env`."""
    agent = Agent()
    json_format.ParseDict(resource.body, agent, ignore_unknown_fields=True)
    agent.spec.ClearField("env_spec")
    return agent
