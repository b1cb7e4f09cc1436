"""One server for all tests of this folder, on SQLite and where one is named on Postgres; an org for each test."""

import uuid
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from tests.contract.methods.world import World
from tests.support import databases
from tests.unit.server.conftest import KEY, http_client
from tests.unit.server.conftest import redis_url as redis_url


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=databases.SORTS)
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> AsyncIterator[RunningServer]:
    folder, unique = tmp_path_factory.mktemp("contract"), uuid.uuid4().hex[:8]
    with databases.migrated(request.param, folder) as url:
        settings = Settings(
            data_dir=folder,
            database_url=url,
            broker_url=redis_url,
            redis_url=redis_url,
            http_port=0,
            grpc_port=0,
            reporting="compatible",
            api_key=SecretStr(KEY),
            secret_key=SecretStr("a secret of the operator"),
            runner_queue=f"runner-{unique}",
            orchestrator_queue=f"orchestrator-{unique}",
        )
        async with running_server(settings) as running:
            yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(server) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def world(server: RunningServer, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> World:
    return await World(server, channel, http).open()


@pytest_asyncio.fixture(loop_scope="session")
async def other(server: RunningServer, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> World:
    """Another org on the same server."""
    return await World(server, channel, http).open()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def quiet(server: RunningServer, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> World:
    """An org for calls that must change nothing, so that it can serve many tests."""
    return await World(server, channel, http).open()
