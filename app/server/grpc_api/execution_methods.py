"""The methods of the contract's AgentExecution services and of `agent_runner.v1.Executions`."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2, io_pb2
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import query_pb2 as _query
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.drafts.draft import draft_of_contract
from agent_runner.app.server.executions.view import (
    as_json,
    attempts_json,
    execution_from_json,
    execution_message,
)
from agent_runner.app.server.grpc_api.paging import asked, pages, say_next
from agent_runner.app.server.log_feed.follow import Snapshot, Updates, follow, snapshot, states
from agent_runner.app.server.log_feed.log_ends import End, phase_of
from agent_runner.app.server.problems import Kind, Problem, failed_precondition, known
from agent_runner.app.server.runners.served_queues import must_serve_run
from agent_runner.status.brief import Brief
from agent_runner.status.log.log import LogRow, rfc3339
from agent_runner.status.phases import Phase
from agent_runner.status.store.lists.queries import ExecutionQuery
from agent_runner.v1 import executions_pb2 as own

CONTRACT = "ai.stigmer.agentic.agentexecution.v1"
_REGISTERED = (_query,)
"""Imported because that registers its service's descriptor."""


def execution_methods(edges: Edges) -> dict[str, Mapping[str, Callable[[Any, Any], Any]]]:
    methods = ExecutionMethods(edges)
    return {
        f"{CONTRACT}.AgentExecutionCommandController": {
            "create": methods.create,
            "update": methods.update,
            "updateStatus": methods.update_status,
            "delete": methods.delete,
        },
        f"{CONTRACT}.AgentExecutionQueryController": {
            "get": methods.get,
            "list": methods.list,
            "listBySession": methods.list_by_session,
            "subscribe": methods.subscribe,
        },
        "agent_runner.v1.Executions": {
            "cancel": methods.cancel,
            "watch": methods.watch,
            "redrive": methods.redrive,
        },
    }


class ExecutionMethods:
    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._ctx = edges.ctx

    async def create(self, request: AgentExecution, context: Any) -> AgentExecution:
        draft = draft_of_contract(request, idempotency_key=_idempotency_key(context))
        accepted = await self._edges.executions.create(draft)
        return await self._message(accepted.execution.id)

    async def update(self, request: AgentExecution, context: Any) -> AgentExecution:
        return await self._message((await self._edges.executions.update(request)).id)

    async def update_status(self, request: command_pb2.AgentExecutionUpdateStatusInput, context: Any) -> AgentExecution:
        self._check_report(request.status.ByteSize())
        await must_serve_run(self._ctx.store, request.execution_id)
        await self._edges.executions.merge_status(request.execution_id, as_json(request.status))
        return await self._message(request.execution_id)

    def _check_report(self, size: int) -> None:
        settings = self._ctx.settings
        if settings.reporting != "compatible":
            raise failed_precondition(
                "updateStatus is off: the workers of this server report through the runner service",
                next_step="Start the server with AGENT_RUNNER_REPORTING=compatible if some of them cannot.",
            )
        if size > settings.max_output_bytes:
            # Reporters know "larger than max", gRPC's own words: they then send the end without the content.
            raise Problem(
                Kind.TOO_LARGE,
                f"the status has {size} bytes, larger than max {settings.max_output_bytes}"
                " (AGENT_RUNNER_MAX_OUTPUT_BYTES)",
                next_step="Leave content out of the status.",
            )

    async def delete(self, request: ApiResourceId, context: Any) -> AgentExecution:
        was = await self._message(request.value)
        await self._edges.executions.delete(request.value)
        return was

    async def get(self, request: io_pb2.AgentExecutionId, context: Any) -> AgentExecution:
        return await self._message(request.value)

    async def list(self, request: io_pb2.ListAgentExecutionsRequest, context: Any) -> io_pb2.AgentExecutionList:
        phase = known("phase", Phase.named, request.phase) if request.phase else None
        query = ExecutionQuery(phase=phase, tags=list(request.tags), **asked(request.page_size, request.page_token))
        return await self._list(query, context)

    async def list_by_session(
        self, request: io_pb2.ListAgentExecutionsBySessionRequest, context: Any
    ) -> io_pb2.AgentExecutionList:
        query = ExecutionQuery(session_id=request.session_id, **asked(request.page_size, request.page_token))
        return await self._list(query, context)

    async def subscribe(self, request: io_pb2.AgentExecutionId, context: Any) -> AsyncIterator[AgentExecution]:
        """The current state, then changes at most four times a second; the terminal state is the last."""
        async with aclosing(states(self._ctx, request.value)) as seen:
            async for one in seen:
                yield execution_message(one.execution, one.state)

    async def cancel(self, request: own.CancelRequest, context: Any) -> own.CancelReply:
        execution = await self._edges.executions.cancel(request.execution_id)
        return own.CancelReply(phase=execution.phase)

    async def redrive(self, request: own.RedriveRequest, context: Any) -> AgentExecution:
        key = _idempotency_key(context)
        env = dict(request.env)
        begin = str(getattr(request, "from"))
        accepted = await self._edges.executions.redrive(request.execution_id, env=env, begin=begin, idempotency_key=key)
        return await self._message(accepted.execution.id)

    async def watch(self, request: own.WatchRequest, context: Any) -> AsyncIterator[own.WatchEvent]:
        """As the SSE stream: a snapshot (or nothing, after a position), every later row, the end."""
        async with aclosing(follow(self._ctx, request.execution_id, request.from_seq or None)) as events:
            async for event in events:
                match event:
                    case Snapshot():
                        message = execution_message(event.execution, event.state)
                        facts = _beside_the_contract(event)
                        yield own.WatchEvent(snapshot=own.Snapshot(seq=event.seq, execution=message, **facts))
                    case Updates():
                        for told in event.rows.once(_watch_updates):
                            yield told
                    case End():
                        facts = await self._facts_at_the_end(request.execution_id)
                        end = own.End(seq=event.seq, phase=event.phase, error_code=event.error_code, **facts)
                        yield own.WatchEvent(end=end)

    async def _facts_at_the_end(self, execution_id: str) -> dict[str, Any]:
        try:
            return _beside_the_contract(await snapshot(self._ctx, execution_id))
        except Problem:  # it was deleted in between, but it has ended
            return {}

    async def _message(self, execution_id: str) -> AgentExecution:
        return execution_from_json(await self._edges.shown(execution_id))

    async def _list(self, query: ExecutionQuery, context: Any) -> io_pb2.AgentExecutionList:
        found = await self._edges.executions.list(query)
        without = sum(isinstance(told, Brief) for told in found.states)
        say_next(context, found.next_token, without_content=without)
        return io_pb2.AgentExecutionList(
            total_pages=pages(found.total, found.page_size),
            entries=[execution_from_json(shown) for shown in self._edges.shown_page(found)],
        )


def _beside_the_contract(shown: Snapshot) -> dict[str, Any]:
    """The facts of an execution that our own messages have and the contract's messages have not."""
    less = shown.state.incomplete
    said = own.Incomplete(reason=less["reason"], text=less["text"]) if less else None
    return {"waiting_for_input": bool(shown.execution.waiting), "incomplete": said, "attempts": _attempts(shown)}


def _attempts(shown: Snapshot) -> own.Attempts | None:
    if shown.execution.retry.maximum_attempts == 1:
        return None
    told = attempts_json(shown.execution, shown.state)
    failed = [
        own.FailedAttempt(**{**one, "possibly_repeated": [call["id"] for call in one.get("possibly_repeated", ())]})
        for one in told["failed"]
    ]
    return own.Attempts(**{**told, "failed": failed})


def _watch_updates(rows: Sequence[LogRow]) -> list[own.WatchEvent]:
    return [own.WatchEvent(update=_update(row)) for row in rows]


def _update(row: LogRow) -> own.Update:
    payload = json.dumps(row.payload, ensure_ascii=False).encode()
    phase = phase_of(row)
    return own.Update(
        seq=row.seq, at=rfc3339(row.at), fence=row.fence, kind=row.kind, payload=payload, phase=phase or 0
    )


def _idempotency_key(context: Any) -> str:
    given = dict(context.invocation_metadata() or ()).get("idempotency-key", "")
    return given if isinstance(given, str) else given.decode("utf-8", "replace")
