"""A second server on the stack's database and broker, and clients that follow an execution at any one of the two."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from httpx_sse import connect_sse

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.command_pb2_grpc import AgentExecutionCommandControllerStub
from agent_runner.ai.stigmer.agentic.agentexecution.v1.query_pb2_grpc import AgentExecutionQueryControllerStub
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1.executions_pb2_grpc import ExecutionsStub
from tests.integration.stack import KEY, Json, Process, Stack
from tests.support.ports import free_port
from tests.support.waiting import eventually

VERSION = "agentic.stigmer.ai/v1"
AUTHORIZED = (("authorization", f"Bearer {KEY}"),)
ENDS_WITHIN_S = 30.0


@dataclass
class Followers:
    """One SSE stream from the beginning, one `watch`, one `subscribe`. Each ends when its server closes it."""

    sse: list[tuple[int, str, Json]] = field(default_factory=list)
    """(id, event, data), as `Stack.events` gives them."""
    watch: list[own.WatchEvent] = field(default_factory=list)
    states: list[AgentExecution] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    failures: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def whole(self) -> "Followers":
        """Once all three are closed."""
        for thread in self.threads:
            thread.join(ENDS_WITHIN_S)
            assert not thread.is_alive(), f"{thread.name} did not end"
        assert not self.failures, self.failures
        return self


@dataclass
class Server:
    """A server of a stack, as a client sees it."""

    http_port: int
    grpc_port: int
    http: httpx.Client
    channel: grpc.Channel

    def create(self, message: str, *, agent: str, key: str = "") -> AgentExecution:
        """Over gRPC, with the contract's method."""
        execution = AgentExecution(api_version=VERSION, kind="AgentExecution")
        execution.metadata.name = "a run"
        execution.spec.message = message
        execution.spec.agent_id = agent
        metadata = (*AUTHORIZED, *((("idempotency-key", key),) if key else ()))
        stub = AgentExecutionCommandControllerStub(self.channel)
        made: AgentExecution = stub.create(execution, metadata=metadata, timeout=30)
        return made

    def cancel(self, id: str) -> None:
        ExecutionsStub(self.channel).cancel(own.CancelRequest(execution_id=id), metadata=AUTHORIZED, timeout=30)

    def follow(self, id: str) -> Followers:
        """Returns when all three have shown their first event."""
        followers = Followers()
        shown: list[list[Any]] = [followers.sse, followers.watch, followers.states]
        for kind, read in zip(("SSE", "watch", "subscribe"), (self._sse, self._watch, self._subscribe), strict=True):
            thread = threading.Thread(target=_kept, args=(followers, read, id), name=f"{kind} of {id}", daemon=True)
            followers.threads.append(thread)
            thread.start()
        eventually(lambda: all(shown) or followers.failures, what="the first events")
        assert not followers.failures, followers.failures
        return followers

    def _sse(self, id: str, followers: Followers) -> None:
        headers = {"Last-Event-ID": "0"}
        with connect_sse(self.http, "GET", f"/v1/executions/{id}/events", headers=headers, timeout=60) as source:
            for one in source.iter_sse():
                followers.sse.append((int(one.id or -1), one.event, json.loads(one.data)))

    def _watch(self, id: str, followers: Followers) -> None:
        request = own.WatchRequest(execution_id=id)
        for one in ExecutionsStub(self.channel).watch(request, metadata=AUTHORIZED, timeout=60):
            followers.watch.append(one)

    def _subscribe(self, id: str, followers: Followers) -> None:
        stub = AgentExecutionQueryControllerStub(self.channel)
        for one in stub.subscribe(io_pb2.AgentExecutionId(value=id), metadata=AUTHORIZED, timeout=60):
            followers.states.append(one)
        followers.ended = time.monotonic()


def _kept(followers: Followers, read: Callable[[str, Followers], None], id: str) -> None:
    try:
        read(id, followers)
    except (httpx.HTTPError, grpc.RpcError) as error:
        followers.failures.append(f"{threading.current_thread().name}: {error}")


@contextmanager
def client(http_port: int, grpc_port: int) -> Iterator[Server]:
    address, headers = f"http://127.0.0.1:{http_port}", {"Authorization": f"Bearer {KEY}"}
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with (
        httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as http,
        grpc.insecure_channel(f"127.0.0.1:{grpc_port}", options=options) as channel,
    ):
        yield Server(http_port=http_port, grpc_port=grpc_port, http=http, channel=channel)


@contextmanager
def two_servers(stack: Stack, **second: str) -> Iterator[tuple[Server, Server]]:
    """The stack's server, and another one beside it with these settings."""
    with client(stack.http_port, stack.grpc_port) as a, client(free_port(), free_port()) as b:
        first = stack.server
        ports = {"AGENT_RUNNER_HTTP_PORT": str(b.http_port), "AGENT_RUNNER_GRPC_PORT": str(b.grpc_port)}
        started: Process = stack.start("server", **ports, **second)
        stack.server = first
        eventually(
            lambda: b.http.get("/healthz").status_code == 200,
            within_s=30,
            what=f"the second server; it printed:\n{started.output()[-3000:]}",
        )
        yield a, b


def an_agent(server: Server) -> str:
    """The id of an agent that was made for the test."""
    agent = {
        "api_version": VERSION,
        "kind": "Agent",
        "metadata": {"name": f"Code Helper {uuid.uuid4().hex}", "owner_scope": "organization"},
        "spec": {"instructions": "Help people with their code."},
    }
    answer = server.http.post("/v1/agents", json=agent)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["metadata"]["id"])
