"""Servers on real sockets, on SQLite always and on Postgres where a server is named: there two of them share it."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import httpx
import pytest
from pydantic import SecretStr

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from tests.store.conftest import sort
from tests.support import databases
from tests.unit.server.conftest import KEY, http_client, redis_url

__all__ = ["redis_url", "sort"]

LONG_S = 3000.0
"""No deadline passes while a test looks at what its clients do."""


def settings_for(folder: Path, redis_url: str, database_url: str) -> Settings:
    unique = uuid.uuid4().hex[:8]
    return Settings(
        data_dir=folder,
        database_url=database_url,
        broker_url=redis_url,
        redis_url=redis_url,
        http_port=0,
        grpc_port=0,
        reporting="compatible",
        api_key=SecretStr(KEY),
        secret_key=SecretStr("a secret of the operator"),
        runner_queue=f"runner-{unique}",
        orchestrator_queue=f"orchestrator-{unique}",
        schedule_to_start_timeout_s=LONG_S,
        schedule_to_close_timeout_s=3 * LONG_S,
        max_queued=0,
    )


@pytest.fixture
def database_url(sort: str, tmp_path: Path) -> Iterator[str]:
    with databases.migrated(sort, tmp_path) as url:
        yield url


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, database_url: str) -> Settings:
    return settings_for(tmp_path, redis_url, database_url)


@pytest.fixture
async def servers(settings: Settings) -> AsyncIterator[list[RunningServer]]:
    """One on SQLite, two replicas on Postgres."""
    async with AsyncExitStack() as stack:
        replicas = 1 if settings.database_url.startswith("sqlite") else 2
        yield [await stack.enter_async_context(running_server(settings)) for _ in range(replicas)]


@pytest.fixture
def server(servers: list[RunningServer]) -> RunningServer:
    return servers[0]


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(server) as client:
        yield client


@pytest.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened
