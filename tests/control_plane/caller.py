"""One org's callers of the published contract and of HTTP, over real sockets."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import httpx

from agent_runner.ai.stigmer.agentic.agent.v1 import command_pb2_grpc as agent_command
from agent_runner.ai.stigmer.agentic.agent.v1 import query_pb2_grpc as agent_query
from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2, command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentExecutionStatus
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import command_pb2_grpc as instance_command
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import query_pb2_grpc as instance_query
from agent_runner.ai.stigmer.agentic.agentinstance.v1.api_pb2 import AgentInstance
from agent_runner.ai.stigmer.agentic.session.v1 import command_pb2_grpc as session_command
from agent_runner.ai.stigmer.agentic.session.v1 import query_pb2_grpc as session_query
from agent_runner.ai.stigmer.agentic.session.v1.api_pb2 import Session
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import organization
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId
from tests.unit.server.conftest import KEY

VERSION = "agentic.stigmer.ai/v1"


class Caller:
    """Errors are `grpc.aio.AioRpcError`; every call has a deadline, so that a lost answer fails and does not hang."""

    def __init__(self, channel: grpc.aio.Channel, http: httpx.AsyncClient, key: str = KEY) -> None:
        self.metadata = (("authorization", f"Bearer {key}"),)
        self._http, self._headers = http, {"Authorization": f"Bearer {key}"}
        self.command: Any = command_pb2_grpc.AgentExecutionCommandControllerStub(channel)
        self.query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
        self.commands: dict[str, Any] = {
            "Agent": agent_command.AgentCommandControllerStub(channel),
            "AgentInstance": instance_command.AgentInstanceCommandControllerStub(channel),
            "Session": session_command.SessionCommandControllerStub(channel),
        }
        self.queries: dict[str, Any] = {
            "Agent": agent_query.AgentQueryControllerStub(channel),
            "AgentInstance": instance_query.AgentInstanceQueryControllerStub(channel),
            "Session": session_query.SessionQueryControllerStub(channel),
        }

    async def call(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self.metadata, timeout=20)

    async def listed(self, method: Any, request: Any) -> tuple[Any, str]:
        """The answer, and the token of the next page (trailing metadata); empty on the last one."""
        call = method(request, metadata=self.metadata, timeout=20)
        answer = await call
        return answer, str(dict(await call.trailing_metadata()).get("next-page-token", ""))

    async def get(self, path: str, params: Mapping[str, Any] | Sequence[tuple[str, Any]] = ()) -> Any:
        answer = await self._http.get(path, params=httpx.QueryParams(params), headers=self._headers)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def execute(self, message: str, **given: Any) -> AgentExecution:
        """A new execution; `given` as for `execution_of`."""
        made: AgentExecution = await self.call(self.command.create, execution_of(message, **given))
        return made

    async def execution(self, id: str) -> AgentExecution:
        found: AgentExecution = await self.call(self.query.get, io_pb2.AgentExecutionId(value=id))
        return found

    async def update(self, execution: AgentExecution) -> AgentExecution:
        updated: AgentExecution = await self.call(self.command.update, execution)
        return updated

    async def report(self, id: str, status: AgentExecutionStatus) -> AgentExecution:
        given = command_pb2.AgentExecutionUpdateStatusInput(execution_id=id, status=status)
        # The runners' call: a key of theirs belongs to no org.
        runner = (("authorization", f"Bearer {KEY}"),)
        merged: AgentExecution = await self.command.updateStatus(given, metadata=runner, timeout=20)
        return merged

    async def delete(self, id: str) -> AgentExecution:
        was: AgentExecution = await self.call(self.command.delete, ApiResourceId(value=id))
        return was


def execution_of(
    message: str, *, session_id: str = "", agent_id: str = "", name: str = "", tags: Sequence[str] = (), **labels: str
) -> AgentExecution:
    execution = AgentExecution(api_version=VERSION, kind="AgentExecution")
    execution.metadata.name = name
    execution.metadata.tags.extend(tags)
    execution.metadata.labels.update(labels)
    execution.spec.message, execution.spec.session_id, execution.spec.agent_id = message, session_id, agent_id
    return execution


def resource_of(kind: str, name: str, *, parent_id: str = "", text: str = "", tags: Sequence[str] = ()) -> Any:
    """`text` is the agent's or instance's description, the session's subject."""
    resource = {"Agent": Agent, "AgentInstance": AgentInstance, "Session": Session}[kind](
        api_version=VERSION, kind=kind
    )
    resource.metadata.name, resource.metadata.owner_scope = name, organization
    resource.metadata.tags.extend(tags)
    match resource:
        case Agent():
            resource.spec.instructions, resource.spec.description = "Help people with their code.", text
        case AgentInstance():
            resource.spec.agent_id, resource.spec.description = parent_id, text
        case Session():
            resource.spec.agent_instance_id, resource.spec.subject = parent_id, text
    return resource
