"""What a key may make of others: no wider than itself, no longer than itself, and never unsigned."""

import asyncio
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.app.server.access.api_keys import FRESH_S
from agent_runner.app.server.composition import RunningServer
from agent_runner.status.api_keys import Scope
from agent_runner.v1 import runner_pb2, runner_pb2_grpc
from tests.unit.server.conftest import http_client
from tests.unit.server.identity import bearer, code_of, id_of, key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


async def make(server: RunningServer, maker: str, *scopes: str, **rest: object) -> httpx.Response:
    async with http_client(server, key=maker) as http:
        return await http.post("/v1/keys", json={"name": "made", "scopes": scopes, **rest})


async def test_nobody_gives_away_what_he_has_not(server: RunningServer) -> None:
    """An admin makes keys for all that admins may, and none for workers; one that is both makes both."""
    admin, both = await key(server, "admin"), await key(server, "admin", "runner")
    for scope in ("admin", "execute", "read"):
        assert (await make(server, admin, scope)).status_code == 201
    for scopes in (("runner",), ("read", "runner")):
        problem = assert_problem(await make(server, admin, *scopes), 403, "PERMISSION_DENIED")
        assert "'runner'" in problem["detail"]
    for each in Scope:
        assert (await make(server, both, each.value)).status_code == 201
    assert (await make(server, await key(server, "admin", org="a"), "runner")).status_code == 403


async def test_who_made_a_key_is_kept(server: RunningServer) -> None:
    """The id of his key, or the name of the server's own."""
    admin = await key(server, "admin")
    made = (await make(server, admin, "read")).json()
    assert made["made_by"] == id_of(admin)
    async with http_client(server) as http:
        makers = {row["id"]: row["made_by"] for row in (await http.get("/v1/keys")).json()["keys"]}
    assert makers == {id_of(admin): "STIGMER_API_KEY", made["id"]: id_of(admin)}


async def until_refused(http: httpx.AsyncClient) -> httpx.Response:
    async with asyncio.timeout(FRESH_S + 20):
        while (answer := await http.get("/v1/executions")).status_code == 200:
            await asyncio.sleep(0.05)
    return answer


async def test_a_key_ends(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """It works until its time and is refused after it, with a text of its own; a stream that it opened ends too."""
    async with http_client(server) as root:
        body = {"name": "ci", "scopes": ["read", "runner"], "expires_in_s": 4}
        made = (await root.post("/v1/keys", json=body)).json()
    assert made["expires_at"] > made["created_at"]
    stub: Any = runner_pb2_grpc.RunnerStub(channel)
    call = stub.presence(metadata=bearer(made["key"]))
    hello = runner_pb2.Hello(incarnation="w", queue="q", role="worker")
    await call.write(runner_pb2.PresenceRequest(hello=hello))
    async with http_client(server, key=made["key"]) as http:
        assert (await http.get("/v1/executions")).status_code == 200
        problem = assert_problem(await until_refused(http), 401, "UNAUTHENTICATED")
    assert "'ci'" in problem["detail"]
    assert "has expired" in problem["detail"]

    async def drained() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    async with asyncio.timeout(FRESH_S + 20):
        code, text = await code_of(drained())
    assert (code, "has expired" in text) == (grpc.StatusCode.UNAUTHENTICATED, True)


async def test_a_key_that_ends_makes_none_that_stays(server: RunningServer) -> None:
    """Without a time the new one ends with it; a longer one is refused, and nothing is left of it."""
    async with http_client(server) as root:
        body = {"name": "for a day", "scopes": ["admin"], "expires_in_s": 86_400}
        maker = (await root.post("/v1/keys", json=body)).json()
        for rest in ({}, {"expires_in_s": 60}):
            made = (await make(server, maker["key"], "read", **rest)).json()
            assert made["expires_at"] <= maker["expires_at"]
        assert_problem(await make(server, maker["key"], "read", expires_in_s=2 * 86_400), 403, "PERMISSION_DENIED")
        rows = (await root.get("/v1/keys")).json()["keys"]
    assert all("revoked_at" in row for row in rows if row["expires_at"] > maker["expires_at"])


@pytest.mark.parametrize("wrong", [0, -1, 1e12, "30d", True])
async def test_a_wrong_time_is_a_400(server: RunningServer, wrong: object) -> None:
    """Seconds, more than none."""
    async with http_client(server) as root:
        body = {"name": "x", "scopes": ["read"], "expires_in_s": wrong}
        assert_problem(await root.post("/v1/keys", json=body), 400, "INVALID_ARGUMENT")
