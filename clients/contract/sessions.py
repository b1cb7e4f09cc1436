"""The contract's Session services."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent_runner.ai.stigmer.agentic.session.v1 import command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.session.v1.api_pb2 import Session
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ONCE, READ, ContractChannel, named

if TYPE_CHECKING:
    from agent_runner.ai.stigmer.agentic.session.v1.command_pb2_grpc import SessionCommandControllerAsyncStub
    from agent_runner.ai.stigmer.agentic.session.v1.query_pb2_grpc import SessionQueryControllerAsyncStub


class SessionClient:
    def __init__(self, channel: ContractChannel) -> None:
        self._channel = channel
        self._command: SessionCommandControllerAsyncStub = command_pb2_grpc.SessionCommandControllerStub(channel.grpc)
        self._query: SessionQueryControllerAsyncStub = query_pb2_grpc.SessionQueryControllerStub(channel.grpc)

    async def create(self, session: Session) -> Session:
        return await self._channel.call(self._command.create, session, patience=ONCE)

    async def apply(self, session: Session) -> Session:
        """Create it, or update the one that has this slug."""
        return await self._channel.call(self._command.apply, session)

    async def update(self, session: Session, *, patience: Patience = READ) -> Session:
        """Replace the spec."""
        return await self._channel.call(self._command.update, session, patience=patience)

    async def delete(self, session_id: str) -> Session:
        request = io_pb2.SessionId(value=named(session_id, "session_id"))
        return await self._channel.call(self._command.delete, request, patience=ONCE)

    async def get(self, session_id: str, *, patience: Patience = READ) -> Session:
        request = io_pb2.SessionId(value=named(session_id, "session_id"))
        return await self._channel.call(self._query.get, request, patience=patience)

    async def list(self, *, page_size: int = 0, page_token: str = "", tags: Sequence[str] = ()) -> io_pb2.SessionList:
        request = io_pb2.ListSessionsRequest(page_size=page_size, page_token=page_token, tags=tags)
        return await self._channel.call(self._query.list, request)

    async def list_by_agent(self, agent_id: str, *, page_size: int = 0, page_token: str = "") -> io_pb2.SessionList:
        request = io_pb2.ListSessionsByAgentRequest(
            agent_id=named(agent_id, "agent_id"), page_size=page_size, page_token=page_token
        )
        return await self._channel.call(self._query.listByAgent, request)
