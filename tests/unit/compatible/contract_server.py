"""A server that has the published contract and nothing of ours, in this process, on a real gRPC port.

It records every call, keeps executions and sessions, and can be slow, refuse and hang. What it does not know is
UNIMPLEMENTED, as with any server: a call of ours to `agent_runner.v1` would be seen in `foreign`.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory

from agent_runner.ai.stigmer.agentic.agent.v1 import command_pb2 as _c1
from agent_runner.ai.stigmer.agentic.agent.v1 import query_pb2 as _q1
from agent_runner.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2 as _c2
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import query_pb2 as _q2
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentExecutionStatus
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import ExecutionPhase
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import command_pb2 as _c3
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import query_pb2 as _q3
from agent_runner.ai.stigmer.agentic.agentinstance.v1.api_pb2 import AgentInstance
from agent_runner.ai.stigmer.agentic.environment.v1 import command_pb2 as _c4
from agent_runner.ai.stigmer.agentic.environment.v1 import query_pb2 as _q4
from agent_runner.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from agent_runner.ai.stigmer.agentic.executioncontext.v1 import command_pb2 as _c5
from agent_runner.ai.stigmer.agentic.executioncontext.v1 import query_pb2 as _q5
from agent_runner.ai.stigmer.agentic.session.v1 import command_pb2 as _c6
from agent_runner.ai.stigmer.agentic.session.v1 import query_pb2 as _q6
from agent_runner.ai.stigmer.agentic.session.v1.api_pb2 import Session
from agent_runner.ai.stigmer.agentic.skill.v1 import command_pb2 as _c7
from agent_runner.ai.stigmer.agentic.skill.v1 import query_pb2 as _q7
from agent_runner.ai.stigmer.agentic.skill.v1.api_pb2 import Skill
from agent_runner.clients.settings.settings import Settings

REGISTERED = (_c1, _q1, _c2, _q2, _c3, _q3, _c4, _q4, _c5, _q5, _c6, _q6, _c7, _q7)
SERVICES = [
    f"ai.stigmer.agentic.{kind.lower()}.v1.{kind}{side}Controller"
    for kind in ("Agent", "AgentExecution", "AgentInstance", "Environment", "ExecutionContext", "Session", "Skill")
    for side in ("Command", "Query")
]
EXECUTION, SESSION, INSTANCE, AGENT = "aex-1", "ses-1", "ain-1", "agt-1"
TERMINAL = (ExecutionPhase.EXECUTION_COMPLETED, ExecutionPhase.EXECUTION_FAILED, ExecutionPhase.EXECUTION_CANCELLED)


@dataclass
class ContractServer:
    """`delay_s` by method; `refuse` is asked before a call is carried out and gives the status to refuse it with."""

    port: int = 0
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """(method, request), the method as `Session.get`."""
    foreign: list[str] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    delay_s: dict[str, float] = field(default_factory=dict)
    delayed: int = 0
    most_delayed: int = 0
    """How many slow calls were in here at once, at the most."""
    refuse: Callable[[str, int], grpc.StatusCode | None] = lambda method, number: None
    """Gets the method and how many calls of it there were before."""
    lose_answers: set[str] = field(default_factory=set)
    """Methods that are carried out, once more, and then answered UNAVAILABLE."""
    max_status_bytes: int = 1 << 30
    executions: dict[str, AgentExecution] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    instances: dict[str, AgentInstance] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    environments: dict[str, Environment] = field(default_factory=dict)
    skills: dict[str, Skill] = field(default_factory=dict)
    archives: dict[str, bytes] = field(default_factory=dict)
    shown: list[AgentExecutionStatus] = field(default_factory=list)
    """The stored status after each update."""

    def __post_init__(self) -> None:
        self.execution = self.executions[EXECUTION] = AgentExecution(api_version="v1", kind="AgentExecution")
        self.execution.metadata.id = EXECUTION
        self.execution.metadata.org = "acme"
        self.execution.spec.session_id = SESSION
        self.execution.spec.message = "hello"
        self.execution.status.phase = ExecutionPhase.EXECUTION_PENDING
        self.session = self.sessions[SESSION] = Session()
        self.session.metadata.id = SESSION
        self.session.spec.agent_instance_id = INSTANCE
        self.instance = self.instances[INSTANCE] = AgentInstance()
        self.instance.metadata.id = INSTANCE
        self.instance.spec.agent_id = AGENT
        self.agent = self.agents[AGENT] = Agent()
        self.agent.metadata.id = AGENT
        self.agent.metadata.slug = "helper"
        self.agent.spec.instructions = "You are a helpful agent."

    async def start(self) -> "ContractServer":
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20)]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def stop(self) -> None:
        await self._server.stop(None)

    def settings(self, **given: Any) -> Settings:
        return Settings(backend_endpoint=f"127.0.0.1:{self.port}", reporting="compatible", **given)

    def add_environment(self, slug: str, *, secret: bool = False, **values: str) -> None:
        environment = self.environments[slug] = Environment()
        environment.metadata.slug = slug
        for name, value in values.items():
            environment.spec.data[name].value = value
            environment.spec.data[name].is_secret = secret
        self.instance.spec.environment_refs.add(slug=slug)

    def add_skill(self, slug: str, skill_md: str, archive: bytes) -> None:
        skill = self.skills[slug] = Skill()
        skill.metadata.slug = slug
        skill.spec.skill_md = skill_md
        skill.status.version_hash = hashlib.sha256(archive).hexdigest()
        skill.status.artifact_storage_key = f"key-of-{slug}"
        self.archives[f"key-of-{slug}"] = archive

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]

    @property
    def updates(self) -> list[AgentExecutionStatus]:
        """The statuses that were sent, refused ones too."""
        return [request.status for method, request in self.calls if method == "AgentExecution.updateStatus"]

    async def answer(self, method: str, request: Any, reply_type: Any, context: Any) -> Any:
        before = self.methods.count(method)
        self.calls.append((method, request))
        self.metadata.append(dict(context.invocation_metadata() or ()))
        if (code := self.refuse(method, before)) is not None:
            await context.abort(code, "refused by the test")
        if delay_s := self.delay_s.get(method, 0.0):
            self.delayed += 1
            self.most_delayed = max(self.most_delayed, self.delayed)
            await asyncio.sleep(delay_s)
            self.delayed -= 1
        reply = await self._carry_out(method, request, reply_type, context)
        if method in self.lose_answers:
            self.lose_answers.discard(method)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer is lost")
        return reply

    async def _carry_out(self, method: str, request: Any, reply_type: Any, context: Any) -> Any:
        tables: dict[str, dict[str, Any]] = {
            "AgentExecution.get": self.executions,
            "Session.get": self.sessions,
            "AgentInstance.get": self.instances,
            "Agent.get": self.agents,
        }
        if method in tables:
            return await _found(tables[method], request.value, context)
        match method:
            case "Environment.getByReference":
                return await _found(self.environments, request.slug, context)
            case "Skill.getByReference":
                return await _found(self.skills, request.slug, context)
            case "Skill.getArtifact":
                return reply_type(artifact=await _found(self.archives, request.artifact_storage_key, context))
            case "Session.update":
                self.session.CopyFrom(request)
                return self.session
            case "AgentExecution.updateStatus":
                return await self._merge(request, context)
        return reply_type()

    async def _merge(self, request: Any, context: Any) -> AgentExecution:
        """Field by field, as the contract says; a terminal phase is not left."""
        execution: AgentExecution = await _found(self.executions, request.execution_id, context)
        if execution.status.phase in TERMINAL:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the execution has ended")
        if request.status.ByteSize() > self.max_status_bytes:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the message is too large")
        for described, value in request.status.ListFields():
            if described.name in ("messages", "tool_calls", "sub_agent_executions"):
                execution.status.ClearField(described.name)
                getattr(execution.status, described.name).extend(value)
            elif described.name == "todos":
                execution.status.ClearField("todos")
                execution.status.todos.MergeFrom(value)
            else:
                setattr(execution.status, described.name, value)
        stored = AgentExecutionStatus()
        stored.CopyFrom(execution.status)
        self.shown.append(stored)
        return execution


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, server: ContractServer) -> None:
        self._server = server

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        service, _, name = str(handler_call_details.method).lstrip("/").partition("/")
        if service not in SERVICES:
            self._server.foreign.append(str(handler_call_details.method))
            return None
        described = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)
        request_type, reply_type = map(message_factory.GetMessageClass, (described.input_type, described.output_type))
        method = f"{service.rpartition('.')[2].replace('CommandController', '').replace('QueryController', '')}.{name}"
        codec: dict[str, Any] = {
            "request_deserializer": request_type.FromString,
            "response_serializer": reply_type.SerializeToString,
        }

        async def one(request: Any, context: Any) -> Any:
            return await self._server.answer(method, request, reply_type, context)

        async def stream(request: Any, context: Any) -> Any:
            yield await self._server.answer(method, request, reply_type, context)

        if described.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, **codec)
        return grpc.unary_unary_rpc_method_handler(one, **codec)


async def _found(table: dict[str, Any], key: str, context: Any) -> Any:
    if key not in table:
        await context.abort(grpc.StatusCode.NOT_FOUND, f"'{key}' does not exist")
    return table[key]


async def until(probe: Callable[[], Any], *, within_s: float = 20.0, what: str = "") -> None:
    """Returns when `probe` is true; fails after the deadline."""
    end = time.monotonic() + within_s
    while not probe():
        assert time.monotonic() < end, f"not within {within_s} s: {what or probe}"
        await asyncio.sleep(0.005)
