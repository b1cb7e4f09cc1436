"""A whole server on real sockets: HTTP, gRPC, SQLite, and a real Redis as broker. Tests play the worker."""

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from pydantic import SecretStr

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import Claimed, NewDelta, Outcome
from tests.support import databases
from tests.support.redis_server import RedisServer

KEY = "test-key"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer.running(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    unique = uuid.uuid4().hex[:8]
    databases.copied(tmp_path / "agent-runner.db")
    return Settings(
        data_dir=tmp_path,
        broker_url=redis_url,
        redis_url=redis_url,
        http_port=0,
        grpc_port=0,
        reporting="compatible",
        api_key=SecretStr(KEY),
        secret_key=SecretStr("a secret of the operator"),
        runner_queue=f"runner-{unique}",
        orchestrator_queue=f"orchestrator-{unique}",
        max_message_bytes=10_000,
        worker_lost_grace_s=0.2,
        health_fresh_s=0,
        sweep_interval_s=0.2,
    )


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RunningServer]:
    async with running_server(settings) as running:
        yield running


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(server) as client:
        yield client


@pytest.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


@pytest.fixture
def worker(server: RunningServer) -> "Worker":
    return Worker(server)


def http_client(server: RunningServer, key: str = KEY) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{server.http_port}",
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=20,
    )


AUTHORIZED = (("authorization", f"Bearer {KEY}"),)


class Worker:
    """Plays the worker of one execution at the store, and wakes the readers as the runner service does."""

    def __init__(self, server: RunningServer) -> None:
        self._ctx = server.ctx

    async def claim(self, id: str, incarnation: str = "w1") -> Claimed:
        store = self._ctx.store
        await store.dispatched(id)
        assert (await store.begin(id, f"begin-{id}", incarnation)).granted
        assert await store.done(id, f"begin-{id}", "thread-1")
        claimed = await store.claim(id, f"claim-{id}", incarnation)
        assert claimed.granted, claimed.refusal
        self._ctx.wakeups.notify(id)
        return claimed

    async def say(self, claimed: Claimed, text: str, *, number: int) -> None:
        """One whole AI message, as delta `number` of this run."""
        execution = claimed.execution
        assert execution is not None
        delta = NewDelta(kind="message", payload=json.dumps({"id": f"a{number}", "content": text}))
        await self._ctx.store.append(execution.handle, execution.fence, number, [delta])
        self._ctx.wakeups.notify(execution.id)

    async def settle(
        self, claimed: Claimed, *, number: int, output: Any = None, question: dict[str, Any] | None = None
    ) -> None:
        execution = claimed.execution
        assert execution is not None
        deltas = [] if output is None else [NewDelta(kind="output", payload=json.dumps({"output": output}))]
        if question is not None:
            deltas.append(NewDelta(kind="question", payload=json.dumps(question)))
        outcome = Outcome(phase=Phase.COMPLETED, waiting=question is not None)
        settled = await self._ctx.store.settle(execution.handle, execution.fence, number, deltas, "", outcome)
        assert settled.accepted
        self._ctx.wakeups.notify(execution.id)


async def created(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """An execution by the short form."""
    answer = await http.post("/v1/executions", json={"message": "hello", **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def sse(text: str) -> list[tuple[str, str, Any]]:
    """The events of a stream as (event, id, data)."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            events.append((fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])))
    return events
