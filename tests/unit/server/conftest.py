"""A whole server on real sockets: HTTP, gRPC, SQLite, and a real Redis as broker. Tests play the worker.

A module that says `SHARES_A_SERVER = True` has one for all its tests. Each of them finds it without any row and with
empty queues: to start a server takes longer than most tests. What else a test changes it puts back.
"""

import inspect
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
import redis
from pydantic import SecretStr

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import Claimed, NewDelta, Outcome
from tests.support import databases
from tests.support.plain_http import NO_AUTHORITIES
from tests.support.redis_server import RedisServer

KEY = "test-key"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer.running(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that share a server share its event loop."""
    for item in items:
        if not isinstance(item, pytest.Function) or not _shares(item.module):
            continue
        if "server" in item.fixturenames and inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


def _shares(module: ModuleType) -> bool:
    return bool(getattr(module, "SHARES_A_SERVER", False))


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    found: Settings = request.getfixturevalue("shared_settings" if _shares(request.module) else "own_settings")
    return found


@pytest.fixture
def server(request: pytest.FixtureRequest) -> RunningServer:
    if not _shares(request.module):
        own: RunningServer = request.getfixturevalue("own_server")
        return own
    shared: RunningServer = request.getfixturevalue("shared_server")
    request.getfixturevalue("rows_at_its_start").bring_back()
    settings = shared.ctx.settings
    with redis.Redis.from_url(settings.redis_url) as broker:
        broker.delete(settings.runner_queue, settings.orchestrator_queue)
    return shared


@pytest.fixture
def http(request: pytest.FixtureRequest, server: RunningServer) -> httpx.AsyncClient:
    found: httpx.AsyncClient = request.getfixturevalue("shared_http" if _shares(request.module) else "own_http")
    return found


@pytest.fixture
def channel(request: pytest.FixtureRequest, server: RunningServer) -> grpc.aio.Channel:
    name = "shared_channel" if _shares(request.module) else "own_channel"
    found: grpc.aio.Channel = request.getfixturevalue(name)
    return found


@pytest.fixture
def own_settings(tmp_path: Path, redis_url: str) -> Settings:
    return settings_of(tmp_path, redis_url)


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Settings:
    return settings_of(tmp_path_factory.mktemp("server"), redis_url)


def settings_of(folder: Path, redis_url: str) -> Settings:
    unique = uuid.uuid4().hex[:8]
    databases.copied(folder / "agent-runner.db")
    return Settings(
        data_dir=folder,
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
async def own_server(own_settings: Settings) -> AsyncIterator[RunningServer]:
    async with running_server(own_settings) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(shared_settings: Settings) -> AsyncIterator[RunningServer]:
    async with running_server(shared_settings) as running:
        yield running


@pytest.fixture(scope="module")
def rows_at_its_start(shared_server: RunningServer, shared_settings: Settings) -> Iterator[databases.RowsAtStart]:
    with databases.RowsAtStart(shared_settings.database_url) as rows:
        yield rows


@pytest.fixture
async def own_http(own_server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(own_server) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def shared_http(shared_server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(shared_server) as client:
        yield client


@pytest.fixture
async def own_channel(own_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{own_server.grpc_port}") as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def shared_channel(shared_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{shared_server.grpc_port}") as opened:
        yield opened


@pytest.fixture
def worker(server: RunningServer) -> "Worker":
    return Worker(server)


def http_client(server: RunningServer, key: str = KEY) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{server.http_port}",
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        verify=NO_AUTHORITIES,
        timeout=60,  # patience, as on a machine full of work; no law
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
