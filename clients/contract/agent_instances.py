"""The contract's AgentInstance services."""

from typing import TYPE_CHECKING

from agent_runner.ai.stigmer.agentic.agentinstance.v1 import command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentinstance.v1.api_pb2 import AgentInstance
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.ai.stigmer.commons.rpc.pagination_pb2 import PageInfo
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ONCE, READ, ContractChannel, named

if TYPE_CHECKING:
    from agent_runner.ai.stigmer.agentic.agentinstance.v1.command_pb2_grpc import (
        AgentInstanceCommandControllerAsyncStub,
    )
    from agent_runner.ai.stigmer.agentic.agentinstance.v1.query_pb2_grpc import AgentInstanceQueryControllerAsyncStub


class AgentInstanceClient:
    def __init__(self, channel: ContractChannel) -> None:
        self._channel = channel
        self._command: AgentInstanceCommandControllerAsyncStub = command_pb2_grpc.AgentInstanceCommandControllerStub(
            channel.grpc
        )
        self._query: AgentInstanceQueryControllerAsyncStub = query_pb2_grpc.AgentInstanceQueryControllerStub(
            channel.grpc
        )

    async def create(self, instance: AgentInstance) -> AgentInstance:
        return await self._channel.call(self._command.create, instance, patience=ONCE)

    async def apply(self, instance: AgentInstance) -> AgentInstance:
        """Create it, or update the one that has this slug."""
        return await self._channel.call(self._command.apply, instance)

    async def update(self, instance: AgentInstance) -> AgentInstance:
        """Replace the spec."""
        return await self._channel.call(self._command.update, instance)

    async def delete(self, agent_instance_id: str) -> AgentInstance:
        request = io_pb2.AgentInstanceId(value=named(agent_instance_id, "agent_instance_id"))
        return await self._channel.call(self._command.delete, request, patience=ONCE)

    async def get(self, agent_instance_id: str, *, patience: Patience = READ) -> AgentInstance:
        request = io_pb2.AgentInstanceId(value=named(agent_instance_id, "agent_instance_id"))
        return await self._channel.call(self._query.get, request, patience=patience)

    async def get_by_agent(self, agent_id: str, *, page: int = 0, page_size: int = 0) -> io_pb2.AgentInstanceList:
        """`page` counts from 1. With 0 for both, the server chooses page and size."""
        request = io_pb2.GetAgentInstancesByAgentRequest(agent_id=named(agent_id, "agent_id"))
        if page or page_size:
            request.page_info.CopyFrom(PageInfo(num=page, size=page_size))
        return await self._channel.call(self._query.getByAgent, request)

    async def get_by_reference(self, reference: ApiResourceReference) -> AgentInstance:
        return await self._channel.call(self._query.getByReference, reference)
