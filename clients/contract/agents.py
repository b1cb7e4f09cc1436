"""The contract's Agent services."""

from typing import TYPE_CHECKING

from agent_runner.ai.stigmer.agentic.agent.v1 import command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ONCE, READ, ContractChannel, named

if TYPE_CHECKING:
    from agent_runner.ai.stigmer.agentic.agent.v1.command_pb2_grpc import AgentCommandControllerAsyncStub
    from agent_runner.ai.stigmer.agentic.agent.v1.query_pb2_grpc import AgentQueryControllerAsyncStub


class AgentClient:
    def __init__(self, channel: ContractChannel) -> None:
        self._channel = channel
        self._command: AgentCommandControllerAsyncStub = command_pb2_grpc.AgentCommandControllerStub(channel.grpc)
        self._query: AgentQueryControllerAsyncStub = query_pb2_grpc.AgentQueryControllerStub(channel.grpc)

    async def create(self, agent: Agent) -> Agent:
        return await self._channel.call(self._command.create, agent, patience=ONCE)

    async def apply(self, agent: Agent) -> Agent:
        """Create it, or update the one that has this slug."""
        return await self._channel.call(self._command.apply, agent)

    async def update(self, agent: Agent) -> Agent:
        """Replace the spec."""
        return await self._channel.call(self._command.update, agent)

    async def delete(self, agent_id: str) -> Agent:
        request = io_pb2.AgentId(value=named(agent_id, "agent_id"))
        return await self._channel.call(self._command.delete, request, patience=ONCE)

    async def get(self, agent_id: str, *, patience: Patience = READ) -> Agent:
        request = io_pb2.AgentId(value=named(agent_id, "agent_id"))
        return await self._channel.call(self._query.get, request, patience=patience)

    async def get_by_reference(self, reference: ApiResourceReference) -> Agent:
        return await self._channel.call(self._query.getByReference, reference)
