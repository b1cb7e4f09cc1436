"""Host names that the server answers for: this machine's, the ones of the setting, and no others."""

import logging

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import http_client
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_limits import changed

OPEN_AND_GUARDED = ("/", "/docs", "/healthz", "/metrics", "/openapi.json", "/v1/executions")


async def got(http: httpx.AsyncClient, path: str, host: str) -> httpx.Response:
    return await http.get(path, headers={"Host": host})


async def test_a_name_that_is_not_ours_is_refused(server: RunningServer, http: httpx.AsyncClient) -> None:
    """On every route, also with the right key; a page whose name was pointed at us reads nothing."""
    for path in OPEN_AND_GUARDED:
        assert_problem(await got(http, path, "page.example:8080"), 400, "INVALID_ARGUMENT")
        assert (await got(http, path, f"localhost:{server.http_port}")).status_code == 200
    for host in ("127.0.0.1", "127.0.0.9:1", "[::1]:80", "LocalHost", "a.localhost", "localhost."):
        assert (await got(http, "/healthz", host)).status_code == 200, host
    for host in ("", "localhost.page.example", "127.0.0.1.page.example", "localhost@page.example", "10.0.0.1", "[::2]"):
        assert (await got(http, "/healthz", host)).status_code == 400, host


async def test_the_setting_adds_names(settings: Settings) -> None:
    """Names as they are, all names below a domain, and the host of the server's own address."""
    own = {"allowed_hosts": "runner.example, *.apps.example", "http_url": "http://server:8080"}
    async with running_server(changed(settings, **own)) as server, http_client(server) as http:
        for host in ("runner.example:8080", "RUNNER.example", "a.b.apps.example", "server:8080", "localhost"):
            assert (await got(http, "/healthz", host)).status_code == 200, host
        for host in ("other.example", "apps.example", "xapps.example", "runner.example.com"):
            assert (await got(http, "/healthz", host)).status_code == 400, host


async def test_any_name_is_said_at_the_start(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A server for the network that was told no names answers for all, and says so once."""
    with caplog.at_level(logging.WARNING, logger="agent_runner.app.server.composition"):
        async with running_server(changed(settings, bind="0.0.0.0")) as server, http_client(server) as http:
            assert (await got(http, "/healthz", "page.example")).status_code == 200
    assert "AGENT_RUNNER_ALLOWED_HOSTS" in caplog.text
