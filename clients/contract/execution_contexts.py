"""The contract's ExecutionContext services."""

from typing import TYPE_CHECKING

from agent_runner.ai.stigmer.agentic.executioncontext.v1 import command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.executioncontext.v1.api_pb2 import ExecutionContext
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceDeleteInput, ApiResourceReference
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ONCE, READ, ContractChannel, named

if TYPE_CHECKING:
    from agent_runner.ai.stigmer.agentic.executioncontext.v1.command_pb2_grpc import (
        ExecutionContextCommandControllerAsyncStub,
    )
    from agent_runner.ai.stigmer.agentic.executioncontext.v1.query_pb2_grpc import (
        ExecutionContextQueryControllerAsyncStub,
    )


class ExecutionContextClient:
    def __init__(self, channel: ContractChannel) -> None:
        self._channel = channel
        self._command: ExecutionContextCommandControllerAsyncStub = (
            command_pb2_grpc.ExecutionContextCommandControllerStub(channel.grpc)
        )
        self._query: ExecutionContextQueryControllerAsyncStub = query_pb2_grpc.ExecutionContextQueryControllerStub(
            channel.grpc
        )

    async def create(self, context: ExecutionContext) -> ExecutionContext:
        return await self._channel.call(self._command.create, context, patience=ONCE)

    async def apply(self, context: ExecutionContext) -> ExecutionContext:
        """Create it, or update the one that has this slug."""
        return await self._channel.call(self._command.apply, context)

    async def delete(self, execution_context_id: str, *, why: str = "", force: bool = False) -> ExecutionContext:
        request = ApiResourceDeleteInput(
            resource_id=named(execution_context_id, "execution_context_id"), version_message=why, force=force
        )
        return await self._channel.call(self._command.delete, request, patience=ONCE)

    async def get(self, execution_context_id: str, *, patience: Patience = READ) -> ExecutionContext:
        request = io_pb2.ExecutionContextId(value=named(execution_context_id, "execution_context_id"))
        return await self._channel.call(self._query.get, request, patience=patience)

    async def get_by_reference(self, reference: ApiResourceReference) -> ExecutionContext:
        return await self._channel.call(self._query.getByReference, reference)
