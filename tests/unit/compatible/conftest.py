from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agent_runner.clients.reporting.compatible import CompatibleBackend
from tests.unit.compatible.contract_server import ContractServer

Open = Callable[..., CompatibleBackend]


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    started = await ContractServer().start()
    yield started
    await started.stop()


@pytest.fixture
async def adapter(server: ContractServer) -> AsyncIterator[Open]:
    """Opens adapters to the server, with these settings."""
    opened: list[CompatibleBackend] = []

    def adapt(**settings: Any) -> CompatibleBackend:
        opened.append(CompatibleBackend(server.settings(**settings)))
        return opened[-1]

    yield adapt
    for backend in opened:
        await backend.close()


@pytest.fixture
def backend(adapter: Open) -> CompatibleBackend:
    return adapter()
