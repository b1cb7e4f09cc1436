"""What every address of the edge has in common: keys, refusals, other origins, ids."""

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import ConflictError, InternalServerError, NotFoundError

from agent_runner.app.server.agent_server.uuids import execution_of, run_uuid, session_of, thread_uuid
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.contract.ids import new_execution_id, new_resource_id
from agent_runner.app.server.maintenance.thread_expiry import ThreadExpiry
from agent_runner.status.store.records import ResourceKind
from tests.unit.server.conftest import KEY, created, http_client, own_server, own_settings, redis_url, server, settings
from tests.unit.server.identity import key

__all__ = ["own_server", "own_settings", "redis_url", "server", "settings"]


@pytest.fixture
async def sdk(server: RunningServer) -> AsyncIterator[Any]:
    async with get_client(url=f"http://127.0.0.1:{server.http_port}", api_key=KEY) as client:
        yield client


def test_ids_and_uuids_are_the_same_number() -> None:
    """Each of our ids has one UUID of version 7 and the other way round, and a client's own UUID keeps its session."""
    session, execution = new_resource_id(ResourceKind.SESSION), new_execution_id()
    assert session_of(thread_uuid(session)) == session
    assert execution_of(run_uuid(execution)) == execution
    assert uuid.UUID(thread_uuid(session)).version == uuid.UUID(run_uuid(execution)).version == 7
    mine = str(uuid.uuid4())
    assert thread_uuid(session_of(mine)) == mine
    assert session_of(mine.upper()) == session_of(mine)


@pytest.mark.promise("5.01")
async def test_a_thread_is_a_session(sdk: Any, server: RunningServer) -> None:
    """A thread of the SDK is a session under /v1, and a session of ours is a thread."""
    thread = await sdk.threads.create(metadata={"by": "sdk"})
    assert (thread["status"], thread["metadata"], thread["values"]) == ("idle", {"by": "sdk"}, None)
    async with http_client(server) as http:
        shown = await http.get(f"/v1/sessions/{session_of(thread['thread_id'])}")
        assert shown.status_code == 200, shown.text
        ours = (await created(http))["spec"]["session_id"]
    found = await sdk.threads.get(thread_uuid(ours))
    assert (found["status"], found["thread_id"]) == ("busy", thread_uuid(ours))


async def test_a_thread_with_an_id_of_the_clients_choice(sdk: Any) -> None:
    """It is made once; a second time it is refused, or given back as it is."""
    mine = str(uuid.uuid4())
    made = await sdk.threads.create(thread_id=mine, metadata={"n": 1})
    assert made["thread_id"] == mine
    with pytest.raises(ConflictError):
        await sdk.threads.create(thread_id=mine)
    again = await sdk.threads.create(thread_id=mine, if_exists="do_nothing", metadata={"n": 2})
    assert again["metadata"] == {"n": 1}


@pytest.mark.promise("5.02")
async def test_an_org_has_threads_of_its_own(server: RunningServer, sdk: Any) -> None:
    """A thread of another org is as one that does not exist."""
    url = f"http://127.0.0.1:{server.http_port}"
    async with get_client(url=url, api_key=await key(server, "execute", org="acme")) as acme:
        theirs = (await acme.threads.create())["thread_id"]
        ours = (await sdk.threads.create())["thread_id"]
        assert (await sdk.threads.get(theirs))["thread_id"] == theirs
        with pytest.raises(NotFoundError):
            await acme.threads.get(ours)
        with pytest.raises(ConflictError):
            await acme.threads.create(thread_id=ours)


async def test_keys_and_refusals(server: RunningServer) -> None:
    """The key may come as `x-api-key`; a refusal is JSON whose `detail` is a text, with our code and next step."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.http_port}", trust_env=False) as http:
        missing = f"/threads/{uuid.uuid4()}"
        cases = [
            (await http.get(missing), 401),
            (await http.get(missing, headers={"x-api-key": "wrong"}), 401),
            (await http.get(missing, headers={"x-api-key": KEY}), 404),
            (await http.get(missing, headers={"authorization": f"Bearer {KEY}"}), 404),
            (await http.get("/threads/not-a-uuid", headers={"x-api-key": KEY}), 422),
            (await http.post("/threads", headers={"x-api-key": KEY}, content=b"{not json"), 422),
            (await http.post("/threads", headers={"x-api-key": KEY}, json={"if_exists": "perhaps"}), 422),
            (await http.get("/threads/a/b/c/d", headers={"x-api-key": KEY}), 404),
            (await http.put("/threads", headers={"x-api-key": KEY}), 405),
        ]
        for answer, status in cases:
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/json"
            told = answer.json()
            assert set(told) == {"detail", "code", "next_step"}
            assert isinstance(told["detail"], str)
            assert told["detail"]
        assert (await http.get("/ok")).json()["ok"] is True
        assert "version" in (await http.get("/info")).json()


async def test_pages_of_other_origins(server: RunningServer) -> None:
    """A preflight needs no key; where the key is a secret every page may call, and read the headers that name a run."""
    page = {"origin": "https://chat.example.com"}
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-api-key"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.http_port}", trust_env=False) as http:
        answer = await http.options("/threads", headers=page | asks)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert answer.headers["access-control-allow-headers"] == "content-type,x-api-key"
        answer = await http.get(f"/threads/{uuid.uuid4()}", headers=page)
        assert answer.status_code == 401
        assert "content-location" in answer.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-origin" not in (await http.get("/v1/executions", headers=page)).headers


@pytest.mark.promise("5.03")
async def test_without_a_worker(sdk: Any) -> None:
    """What only workers know is refused in time, with the reason; what the server knows needs none."""
    thread = await sdk.threads.create(metadata={"graph_id": "agent-runner"})
    assert (await sdk.threads.get_state(thread["thread_id"]))["values"] == {}
    with pytest.raises(InternalServerError, match="no worker of queue 'runner-"):
        await sdk.threads.update_state(thread["thread_id"], {"messages": []})


async def test_threads_are_searched_and_removed(sdk: Any) -> None:
    """By metadata in depth, by status, in pages; a deleted thread is gone."""
    mark = uuid.uuid4().hex
    made = [
        (await sdk.threads.create(metadata={"mark": mark, "deep": {"n": n, "yes": n == 1}}))["thread_id"]
        for n in range(3)
    ]
    search = sdk.threads.search
    assert [t["thread_id"] for t in await search(metadata={"mark": mark})] == made[::-1]
    assert [t["thread_id"] for t in await search(metadata={"mark": mark, "deep": {"yes": True}})] == [made[1]]
    assert [t["thread_id"] for t in await search(metadata={"mark": mark}, limit=1, offset=1)] == [made[1]]
    assert await search(metadata={"mark": mark}, status="busy") == []
    assert await sdk.threads.count(metadata={"mark": mark}, status="idle") == 3
    only = await search(ids=[made[0]], select=["thread_id", "status"])
    assert only == [{"thread_id": made[0], "status": "idle"}]
    changed = await sdk.threads.update(made[0], metadata={"more": 1})
    assert changed["metadata"]["deep"] == {"n": 0, "yes": False}
    assert (await search(metadata={"mark": mark}, limit=1))[0]["thread_id"] == made[0]
    assert (await sdk.threads.prune(made[:2]))["pruned_count"] == 2
    await sdk.threads.delete(made[2])
    for gone in made:
        with pytest.raises(NotFoundError):
            await sdk.threads.get(gone)


async def test_a_thread_goes_when_its_time_is_over(sdk: Any, server: RunningServer) -> None:
    """Only then; a thread without a time, or with time left, stays."""
    short = await sdk.threads.create(ttl={"ttl": 0.0005, "strategy": "delete"})
    long = await sdk.threads.create(ttl=60)
    assert (await sdk.threads.get(long["thread_id"], include=["ttl"]))["ttl"]["ttl"] == 60

    deadline = time.monotonic() + 20
    while await sdk.threads.search(ids=[short["thread_id"]]):
        assert time.monotonic() < deadline
        await ThreadExpiry(server.ctx).round()
    assert (await sdk.threads.get(long["thread_id"]))["thread_id"] == long["thread_id"]
