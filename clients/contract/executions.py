"""The contract's AgentExecution services."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentExecutionStatus
from agent_runner.ai.stigmer.agentic.agentexecution.v1.command_pb2 import AgentExecutionUpdateStatusInput
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ONCE, READ, ContractChannel, named

if TYPE_CHECKING:
    from agent_runner.ai.stigmer.agentic.agentexecution.v1.command_pb2_grpc import (
        AgentExecutionCommandControllerAsyncStub,
    )
    from agent_runner.ai.stigmer.agentic.agentexecution.v1.query_pb2_grpc import AgentExecutionQueryControllerAsyncStub


class ExecutionClient:
    def __init__(self, channel: ContractChannel) -> None:
        self._channel = channel
        self._command: AgentExecutionCommandControllerAsyncStub = command_pb2_grpc.AgentExecutionCommandControllerStub(
            channel.grpc
        )
        self._query: AgentExecutionQueryControllerAsyncStub = query_pb2_grpc.AgentExecutionQueryControllerStub(
            channel.grpc
        )

    async def create(self, execution: AgentExecution, *, idempotency_key: str = "") -> AgentExecution:
        """Tried again only with a key, because then the server makes one execution of all tries."""
        patience = READ if idempotency_key else ONCE
        key = (("idempotency-key", idempotency_key),) if idempotency_key else ()
        return await self._channel.call(self._command.create, execution, patience=patience, metadata=key)

    async def update(self, execution: AgentExecution) -> AgentExecution:
        """Update the execution, but never its status."""
        return await self._channel.call(self._command.update, execution)

    async def update_status(
        self,
        execution_id: str,
        status: AgentExecutionStatus,
        *,
        patience: Patience = READ,
        stop: Callable[[], bool] = lambda: False,
    ) -> AgentExecution:
        """Lists that are not empty and fields that are set replace the stored ones."""
        request = AgentExecutionUpdateStatusInput(execution_id=named(execution_id, "execution_id"), status=status)
        return await self._channel.call(self._command.updateStatus, request, patience=patience, stop=stop)

    async def delete(self, execution_id: str) -> AgentExecution:
        request = ApiResourceId(value=named(execution_id, "execution_id"))
        return await self._channel.call(self._command.delete, request, patience=ONCE)

    async def get(self, execution_id: str, *, patience: Patience = READ) -> AgentExecution:
        request = io_pb2.AgentExecutionId(value=named(execution_id, "execution_id"))
        return await self._channel.call(self._query.get, request, patience=patience)

    async def list(
        self, *, page_size: int = 0, page_token: str = "", phase: int = 0, tags: Sequence[str] = ()
    ) -> io_pb2.AgentExecutionList:
        request = io_pb2.ListAgentExecutionsRequest(
            page_size=page_size,
            page_token=page_token,
            phase=phase,  # type: ignore[arg-type]
            tags=tags,
        )
        return await self._channel.call(self._query.list, request)

    async def list_by_session(
        self, session_id: str, *, page_size: int = 0, page_token: str = ""
    ) -> io_pb2.AgentExecutionList:
        request = io_pb2.ListAgentExecutionsBySessionRequest(
            session_id=named(session_id, "session_id"), page_size=page_size, page_token=page_token
        )
        return await self._channel.call(self._query.listBySession, request)

    def subscribe(self, execution_id: str, *, timeout_s: float | None = None) -> AsyncIterator[AgentExecution]:
        """The execution now and after every change, until its end."""
        request = io_pb2.AgentExecutionId(value=named(execution_id, "execution_id"))
        return self._channel.stream(self._query.subscribe, request, timeout_s=timeout_s)
