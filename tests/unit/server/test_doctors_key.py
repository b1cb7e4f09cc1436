"""`doctor` and a running server: which key it has, and what to do about a wrong one."""

import asyncio

from pydantic import SecretStr

from agent_runner.app.cli.checks import Check, check_server
from agent_runner.app.server.composition import RunningServer
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import KEY
from tests.unit.server.identity import key

SHARES_A_SERVER = True


async def asked(server: RunningServer, own: str) -> dict[str, Check]:
    url = f"http://127.0.0.1:{server.http_port}"
    settings = Settings(http_url=url, api_key=SecretStr(own), reporting="native")
    return {check.name: check for check in await asyncio.to_thread(check_server, settings)}


async def test_a_wrong_key(server: RunningServer) -> None:
    """The server is up, the key is the finding, and its fix is a key of the server; with it the finding is gone."""
    wrong = await asked(server, "another-key-than-the-server-has")
    assert wrong["server"].up
    assert (wrong["key"].up, wrong["key"].required) == (False, True)
    assert "refuses STIGMER_API_KEY" in wrong["key"].why
    assert "agent-runner keys create" in wrong["key"].fix
    right = await asked(server, KEY)
    assert right["server"].up
    assert "key" not in right
    assert not right["workers"].up


async def test_a_workers_key(server: RunningServer) -> None:
    """It may not list workers, and that is no fault of the machine where `doctor` is asked."""
    found = await asked(server, await key(server, "runner"))
    assert found.keys() == {"server", "key"}
    assert all(check.up for check in found.values())


async def test_no_server(server: RunningServer) -> None:
    """An address that nobody answers at is the server's fault, not the key's."""
    settings = Settings(http_url="http://127.0.0.1:9", api_key=SecretStr(KEY), reporting="native")
    found = {check.name: check for check in await asyncio.to_thread(check_server, settings)}
    assert (found["server"].up, "key" in found) == (False, False)
    assert found["server"].fix.startswith("agent-runner dev")
