"""Questions to workers, from their side: a worker takes one and answers it once. See `agent_server.queries`."""

import secrets

from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.runners.run_tokens import TOKEN_BYTES, digest_of
from agent_runner.app.server.runners.served_queues import must_serve
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.registry.graph_queries import QueryAnswer
from agent_runner.v1 import runner_pb2 as pb


async def take_query(ctx: ServerContext, request: pb.TakeQueryRequest) -> pb.TakeQueryReply:
    """Raises PERMISSION_DENIED if the key does not serve the queue."""
    if (asked := await ctx.store.find_query(request.query_id)) is not None:
        must_serve(asked.queue)
    token = secrets.token_bytes(TOKEN_BYTES)
    query = await ctx.store.take_query(request.query_id, digest_of(token))
    if query is None:
        return pb.TakeQueryReply(granted=False)
    reply = pb.TakeQueryReply(
        granted=True,
        token=token,
        within_s=query.within_s,
        kind=query.kind,
        body_json=query.body,
        org=query.org,
        graph=query.graph,
        thread_id=query.thread_id,
        head_checkpoint_id=query.head_checkpoint_id,
    )
    if not query.graph and query.agent_id:
        found = await ctx.store.get_resource(ResourceKind.AGENT, query.agent_id)
        if found is not None:
            agent = Agent()
            json_format.ParseDict(found.body, agent, ignore_unknown_fields=True)
            agent.spec.ClearField("env_spec")
            reply.agent.CopyFrom(agent)
    return reply


async def answer_query(ctx: ServerContext, request: pb.AnswerQueryRequest) -> pb.AnswerQueryReply:
    given = QueryAnswer(answer=request.answer_json, refusal=request.refusal, refused_as=request.refused_as)
    accepted = await ctx.store.answer_query(request.query_id, digest_of(request.token), given)
    if accepted:
        ctx.wakeups.notify(request.query_id)
    return pb.AnswerQueryReply(accepted=accepted)
