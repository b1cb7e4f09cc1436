"""The contract's Environment services."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from agent_runner.ai.stigmer.agentic.environment.v1 import command_pb2_grpc, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import (
    ApiResourceDeleteInput,
    ApiResourceId,
    ApiResourceReference,
)
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ONCE, READ, ContractChannel, named, resolved

if TYPE_CHECKING:
    from agent_runner.ai.stigmer.agentic.environment.v1.command_pb2_grpc import EnvironmentCommandControllerAsyncStub
    from agent_runner.ai.stigmer.agentic.environment.v1.query_pb2_grpc import EnvironmentQueryControllerAsyncStub


class EnvironmentClient:
    def __init__(self, channel: ContractChannel) -> None:
        self._channel = channel
        self._command: EnvironmentCommandControllerAsyncStub = command_pb2_grpc.EnvironmentCommandControllerStub(
            channel.grpc
        )
        self._query: EnvironmentQueryControllerAsyncStub = query_pb2_grpc.EnvironmentQueryControllerStub(channel.grpc)

    async def create(self, environment: Environment) -> Environment:
        return await self._channel.call(self._command.create, environment, patience=ONCE)

    async def apply(self, environment: Environment) -> Environment:
        """Create it, or update the one that has this slug."""
        return await self._channel.call(self._command.apply, environment)

    async def update(self, environment: Environment) -> Environment:
        """Replace the spec."""
        return await self._channel.call(self._command.update, environment)

    async def delete(self, environment_id: str, *, why: str = "", force: bool = False) -> Environment:
        request = ApiResourceDeleteInput(
            resource_id=named(environment_id, "environment_id"), version_message=why, force=force
        )
        return await self._channel.call(self._command.delete, request, patience=ONCE)

    async def get(self, environment_id: str, *, patience: Patience = READ) -> Environment:
        request = ApiResourceId(value=named(environment_id, "environment_id"))
        return await self._channel.call(self._query.get, request, patience=patience)

    async def get_by_reference(self, reference: ApiResourceReference, *, patience: Patience = READ) -> Environment:
        return await self._channel.call(self._query.getByReference, reference, patience=patience)

    async def list_by_refs(
        self, references: Sequence[ApiResourceReference], *, patience: Patience = READ
    ) -> list[Environment]:
        """In the order of the references, looked up at the same time. Raises UnresolvedReference."""
        return await resolved(partial(self.get_by_reference, patience=patience), references)
