"""The methods of the contract's resource services: one class for all kinds, and the methods that each kind has."""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from agent_runner.ai.stigmer.agentic.agent.v1 import command_pb2 as _c1
from agent_runner.ai.stigmer.agentic.agent.v1 import query_pb2 as _q1
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import command_pb2 as _c2
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import io_pb2 as instance_io
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import query_pb2 as _q2
from agent_runner.ai.stigmer.agentic.environment.v1 import command_pb2 as _c3
from agent_runner.ai.stigmer.agentic.environment.v1 import query_pb2 as _q3
from agent_runner.ai.stigmer.agentic.executioncontext.v1 import command_pb2 as _c4
from agent_runner.ai.stigmer.agentic.executioncontext.v1 import query_pb2 as _q4
from agent_runner.ai.stigmer.agentic.session.v1 import command_pb2 as _c5
from agent_runner.ai.stigmer.agentic.session.v1 import io_pb2 as session_io
from agent_runner.ai.stigmer.agentic.session.v1 import query_pb2 as _q5
from agent_runner.ai.stigmer.agentic.skill.v1 import command_pb2 as _c6
from agent_runner.ai.stigmer.agentic.skill.v1 import io_pb2 as skill_io
from agent_runner.ai.stigmer.agentic.skill.v1 import query_pb2 as _q6
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.grpc_api.paging import asked, pages, say_next
from agent_runner.app.server.resources.resource_kinds import DEFINITIONS
from agent_runner.status.store.lists.queries import ResourceQuery
from agent_runner.status.store.records import ResourceKind

CONTRACT = "ai.stigmer.agentic"
Methods = Mapping[str, Callable[[Any, Any], Any]]
_REGISTERED = (_c1, _q1, _c2, _q2, _c3, _q3, _c4, _q4, _c5, _q5, _c6, _q6)
"""Imported because that registers the descriptors of their services."""


def resource_methods(edges: Edges) -> dict[str, Methods]:
    found: dict[str, Methods] = {}
    for kind in ResourceKind:
        methods = SkillMethods(edges) if kind is ResourceKind.SKILL else ResourceMethods(edges, kind)
        service = f"{CONTRACT}.{kind.value.lower()}.v1.{kind.value}"
        found[f"{service}CommandController"] = methods.commands()
        found[f"{service}QueryController"] = methods.queries()
    return found


class ResourceMethods:
    """One kind's methods."""

    def __init__(self, edges: Edges, kind: ResourceKind) -> None:
        self._resources = edges.resources
        self._kind = kind

    def commands(self) -> Methods:
        match self._kind:
            case ResourceKind.EXECUTION_CONTEXT:
                return {"apply": self.apply, "create": self.create, "delete": self.delete}
            case _:
                return {"apply": self.apply, "create": self.create, "update": self.update, "delete": self.delete}

    def queries(self) -> Methods:
        both: Methods = {"get": self.get, "getByReference": self.get_by_reference}
        match self._kind:
            case ResourceKind.SESSION:
                return {"get": self.get, "list": self.list_sessions, "listByAgent": self.list_sessions}
            case ResourceKind.AGENT_INSTANCE:
                return {**both, "getByAgent": self.instances_of_agent}
            case _:
                return both

    async def create(self, request: Message, context: Any) -> Message:
        return self._message(await self._resources.create(request))

    async def update(self, request: Message, context: Any) -> Message:
        return self._message(await self._resources.update(request))

    async def apply(self, request: Message, context: Any) -> Message:
        return self._message(await self._resources.apply(request))

    async def delete(self, request: Any, context: Any) -> Message:
        by_input = "resource_id" in request.DESCRIPTOR.fields_by_name
        return self._message(
            await self._resources.delete(self._kind, request.resource_id if by_input else request.value)
        )

    async def get(self, request: Any, context: Any) -> Message:
        return self._message(await self._resources.get(self._kind, request.value))

    async def get_by_reference(self, request: Any, context: Any) -> Message:
        return self._message(await self._resources.get_by_reference(self._kind, request))

    async def list_sessions(self, request: Any, context: Any) -> session_io.SessionList:
        """All sessions, or those of an agent."""
        query = ResourceQuery(
            kind=ResourceKind.SESSION,
            tags=list(getattr(request, "tags", ())),
            **asked(request.page_size, request.page_token),
        )
        found = await self._resources.list(query, agent_id=getattr(request, "agent_id", ""))
        say_next(context, found.next_token)
        entries = [self._message(shown) for shown in found.resources]
        return session_io.SessionList(total_pages=pages(found.total, found.page_size), entries=entries)  # type: ignore[arg-type]

    async def instances_of_agent(self, request: Any, context: Any) -> instance_io.AgentInstanceList:
        page = request.page_info
        query = ResourceQuery(kind=self._kind, **asked(page.size, str(max(0, page.num))))
        found = await self._resources.list(query, agent_id=request.agent_id)
        items = [self._message(shown) for shown in found.resources]
        return instance_io.AgentInstanceList(total_count=found.total, items=items)  # type: ignore[arg-type]

    def _message(self, shown: Mapping[str, Any]) -> Message:
        return json_format.ParseDict(dict(shown), DEFINITIONS[self._kind].message(), ignore_unknown_fields=True)


class SkillMethods(ResourceMethods):
    """Skills have versions and archives."""

    def __init__(self, edges: Edges) -> None:
        super().__init__(edges, ResourceKind.SKILL)
        self._skills = edges.skills

    def commands(self) -> Methods:
        return {"push": self.push, "delete": self.delete}

    def queries(self) -> Methods:
        return {"get": self.get, "getByReference": self.get_by_reference, "getArtifact": self.get_artifact}

    async def push(self, request: skill_io.PushSkillRequest, context: Any) -> Message:
        return self._message(await self._skills.push(request))

    async def get_by_reference(self, request: Any, context: Any) -> Message:
        return self._message(await self._skills.get_by_reference(request))

    async def get_artifact(self, request: skill_io.GetArtifactRequest, context: Any) -> skill_io.GetArtifactResponse:
        return skill_io.GetArtifactResponse(artifact=await self._skills.artifact(request.artifact_storage_key))
