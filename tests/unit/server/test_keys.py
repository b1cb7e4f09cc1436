"""API keys: shown once, stored as a digest, cheap to check, useless soon after they were revoked."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from agent_runner.app.server.access import api_keys as keys
from agent_runner.app.server.access.api_keys import Keys
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.problems import Problem
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.api_keys import ApiKey, Scope
from agent_runner.status.store.store import Store
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import executions_pb2_grpc as own_grpc
from agent_runner.v1 import runner_pb2, runner_pb2_grpc
from tests.unit.server.conftest import created, http_client, sse
from tests.unit.server.identity import bearer, code_of, id_of, key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


async def soon(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.05)


@pytest.mark.promise("1.15")
async def test_the_key_of_the_environment_is_compared_whole() -> None:
    """Only the exact key with the Bearer scheme is accepted, without any look-up; an empty key accepts nobody."""
    nowhere = Store.open("sqlite:////nowhere/at/all.db")
    known = Keys(nowhere, "kéy")
    for right in ("Bearer kéy", "bearer kéy "):
        principal = await known.principal(right)
        assert (principal.scopes, principal.org) == (frozenset(Scope), "")
    for wrong in (None, "", "Bearer", "Bearer k", "kéy", "Basic kéy", "Bearer kéy2", "Bearer ark_", "Bearer ark__x"):
        with pytest.raises(Problem, match="Authorization"):
            await known.principal(wrong)
    with pytest.raises(Problem):
        await Keys(nowhere, "").principal("Bearer ")


async def test_a_key_is_shown_once_and_kept_by_nobody(server: RunningServer, settings: Settings) -> None:
    """The answer to the create has the key; the list and the database have not. Revoking shows since when."""
    async with http_client(server) as http:
        made = await http.post("/v1/keys", json={"name": "ci", "scopes": ["read", "execute"], "org": "a"})
        assert made.headers["cache-control"] == "no-store"
        body = made.json()
        secret = body.pop("key")
        assert secret.startswith(f"ark_{body['id']}_")
        assert len(secret.split("_")[2]) == 64
        assert (body["name"], body["scopes"], body["org"]) == ("ci", ["execute", "read"], "a")
        assert (await http.get("/v1/keys")).json() == {"keys": [body]}
        dumped = "\n".join(sqlite3.connect(settings.database_url.removeprefix("sqlite:///")).iterdump())
        assert body["id"] in dumped
        assert secret.split("_")[2] not in dumped
        revoked = (await http.delete(f"/v1/keys/{body['id']}")).json()
        assert revoked["revoked_at"] >= body["created_at"]
        assert (await http.delete(f"/v1/keys/{body['id']}")).json() == revoked
        assert_problem(await http.delete("/v1/keys/none"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "x", "scopes": []},
        {"name": "", "scopes": ["read"]},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "scopes": ["read"], "key": "mine"},
        {"name": "a\0b", "scopes": ["read"]},
        {"name": "x", "scopes": ["runner"], "org": "a"},
    ],
)
async def test_a_wrong_key_request_is_a_400(server: RunningServer, body: dict[str, Any]) -> None:
    """Names, scopes and orgs are checked; a runner's key cannot belong to an org."""
    async with http_client(server) as http:
        assert_problem(await http.post("/v1/keys", json=body), 400, "INVALID_ARGUMENT")
        assert (await http.get("/v1/keys")).json() == {"keys": []}


async def test_wrong_keys_open_nothing(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """A key of another secret, of an unknown id, or cut off is a 401, and UNAUTHENTICATED."""
    right = await key(server, "read")
    prefix, id, secret = right.split("_")
    executions: Any = own_grpc.ExecutionsStub(channel)
    for wrong in (f"{prefix}_{id}_{'0' * 64}", f"{prefix}_{'0' * 16}_{secret}", right[:-1], f"{right}0", secret, id):
        async with http_client(server, key=wrong) as http:
            assert_problem(await http.get("/v1/executions"), 401, "UNAUTHENTICATED")
        call = executions.cancel(own.CancelRequest(execution_id="x"), metadata=bearer(wrong))
        assert (await code_of(call))[0] is grpc.StatusCode.UNAUTHENTICATED
    async with http_client(server, key=right) as http:
        assert (await http.get("/v1/executions")).status_code == 200


async def test_a_check_costs_no_query_per_call(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred calls at once, and a hundred after them, read the key once; its use is noted once."""
    looked: list[str] = []
    find = Store.find_key

    async def counted(self: Store, id: str) -> ApiKey | None:
        looked.append(id)
        return await find(self, id)

    monkeypatch.setattr(Store, "find_key", counted)
    monkeypatch.setattr(keys, "FRESH_S", 60.0)
    known = server.ctx.gate.keys
    given = await key(server, "read")
    await asyncio.gather(*(known.principal(f"Bearer {given}") for _ in range(100)))
    for _ in range(100):
        await known.principal(f"Bearer {given}")
    assert looked == [id_of(given)]

    async def noted() -> bool:
        found = await find(server.ctx.store, id_of(given))
        return found is not None and found.last_used_at is not None

    await soon(noted)


async def test_a_revocation_reaches_other_servers(server: RunningServer) -> None:
    """A key that another server revoked opens nothing here after FRESH_S, and the text says that it was revoked."""
    given = await key(server, "read")
    async with http_client(server, key=given) as http:
        assert (await http.get("/v1/executions")).status_code == 200
        await server.ctx.store.revoke_key(id_of(given))

        async def refused() -> bool:
            return (await http.get("/v1/executions")).status_code == 401

        await soon(refused)
        assert "was revoked" in assert_problem(await http.get("/v1/executions"), 401, "UNAUTHENTICATED")["detail"]


async def test_streams_end_when_their_key_is_revoked(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """SSE, watch and a worker's presence that are open end when their key is revoked, and say why."""
    async with http_client(server) as http:
        execution_id = (await created(http))["metadata"]["id"]
    reader, runner = await key(server, "read"), await key(server, "runner")
    worker: Any = runner_pb2_grpc.RunnerStub(channel)
    watcher: Any = own_grpc.ExecutionsStub(channel)
    watching = watcher.watch(own.WatchRequest(execution_id=execution_id), metadata=bearer(reader))
    present = worker.presence(_hello(), metadata=bearer(runner))
    assert (await watching.read()).HasField("snapshot")
    assert (await present.read()).HasField("welcome")

    async def drained(stream: Any) -> None:
        while await stream.read() is not grpc.aio.EOF:
            pass

    events = f"/v1/executions/{execution_id}/events"
    async with http_client(server, key=reader) as http, http.stream("GET", events) as response:
        pieces = response.aiter_text()
        assert sse(await anext(pieces))[0][0] == "snapshot"
        for given in (reader, runner):
            await server.ctx.store.revoke_key(id_of(given))
        async with asyncio.timeout(20):
            for stream in (watching, present):
                code, text = await code_of(drained(stream))
                assert code is grpc.StatusCode.UNAUTHENTICATED
                assert "was revoked" in text
            event, _, problem = sse("".join([piece async for piece in pieces]))[-1]
    assert (event, problem["code"]) == ("error", "UNAUTHENTICATED")
    assert "was revoked" in problem["detail"]


async def _hello() -> AsyncIterator[runner_pb2.PresenceRequest]:
    yield runner_pb2.PresenceRequest(hello=runner_pb2.Hello(incarnation="w", queue="q", role="worker", slots=1))
    await asyncio.Event().wait()
