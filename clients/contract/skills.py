"""The contract's Skill services."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from agent_runner.ai.stigmer.agentic.skill.v1 import command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.skill.v1.api_pb2 import Skill
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import LARGE, ONCE, READ, ContractChannel, named, resolved

if TYPE_CHECKING:
    from agent_runner.ai.stigmer.agentic.skill.v1.command_pb2_grpc import SkillCommandControllerAsyncStub
    from agent_runner.ai.stigmer.agentic.skill.v1.query_pb2_grpc import SkillQueryControllerAsyncStub


class SkillClient:
    def __init__(self, channel: ContractChannel) -> None:
        self._channel = channel
        self._command: SkillCommandControllerAsyncStub = command_pb2_grpc.SkillCommandControllerStub(channel.grpc)
        self._query: SkillQueryControllerAsyncStub = query_pb2_grpc.SkillQueryControllerStub(channel.grpc)

    async def push(self, request: io_pb2.PushSkillRequest) -> Skill:
        """A new version; the first push makes the skill. The same archive again is the same version."""
        return await self._channel.call(self._command.push, request, patience=LARGE)

    async def delete(self, skill_id: str) -> Skill:
        request = io_pb2.SkillId(value=named(skill_id, "skill_id"))
        return await self._channel.call(self._command.delete, request, patience=ONCE)

    async def get(self, skill_id: str, *, patience: Patience = READ) -> Skill:
        request = io_pb2.SkillId(value=named(skill_id, "skill_id"))
        return await self._channel.call(self._query.get, request, patience=patience)

    async def get_by_reference(self, reference: ApiResourceReference, *, patience: Patience = READ) -> Skill:
        return await self._channel.call(self._query.getByReference, reference, patience=patience)

    async def list_by_refs(
        self, references: Sequence[ApiResourceReference], *, patience: Patience = READ
    ) -> list[Skill]:
        """In the order of the references, looked up at the same time. Raises UnresolvedReference."""
        return await resolved(partial(self.get_by_reference, patience=patience), references)

    async def get_artifact(self, artifact_storage_key: str) -> bytes:
        """The archive, a zip file."""
        request = io_pb2.GetArtifactRequest(artifact_storage_key=named(artifact_storage_key, "artifact_storage_key"))
        return (await self._channel.call(self._query.getArtifact, request, patience=LARGE)).artifact
