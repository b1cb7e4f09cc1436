"""Many executions in one call: each by itself, and the answer says what happened to each."""

from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.listing.bulk_calls import MAX_IDS
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


async def called(http: httpx.AsyncClient, verb: str, ids: list[str]) -> dict[str, dict[str, Any]]:
    answer = await http.post(f"/v1/executions:{verb}", json={"ids": ids})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [one["id"] for one in results] == list(dict.fromkeys(ids))
    return {one["id"]: one for one in results}


async def phase(http: httpx.AsyncClient, id: str) -> str:
    answer = await http.get(f"/v1/executions/{id}")
    return str(answer.json()["status"]["phase"]) if answer.status_code == 200 else str(answer.status_code)


async def test_one_refusal_stops_nothing(http: httpx.AsyncClient, worker: Worker) -> None:
    """Cancel, redrive and delete do what they can, name what they could not, and say why and what to do."""
    pending, running, done = [(await created(http))["metadata"]["id"] for _ in range(3)]
    await worker.settle(await worker.claim(done), number=0)
    await worker.claim(running)
    told = await called(http, "redrive", [pending, "aex-none", done, done])
    assert [told[id]["ok"] for id in (pending, "aex-none", done)] == [False, False, True]
    assert told["aex-none"]["code"] == "NOT_FOUND"
    assert "has not ended" in told[pending]["detail"]
    assert told[pending]["nextStep"]
    assert (await http.get(f"/v1/executions/{told[done]['made']}")).json()["redriven_from"] == done
    told = await called(http, "cancel", [pending, running, "aex-none", done])
    assert [one["ok"] for one in told.values()] == [True, True, False, True]
    assert await phase(http, pending) == "EXECUTION_CANCELLED"
    assert await phase(http, done) == "EXECUTION_COMPLETED"
    told = await called(http, "delete", ["x", running, pending, done])
    assert [one["ok"] for one in told.values()] == [False, False, True, True]
    assert "EXECUTION_IN_PROGRESS" in told[running]["detail"]
    assert [await phase(http, id) for id in (pending, done)] == ["404", "404"]


async def test_a_redrive_without_its_secrets(http: httpx.AsyncClient) -> None:
    """It is refused with the names of the secrets, as a redrive of one execution is."""
    id = (await created(http, env={"TOKEN": "a-secret-value"}))["metadata"]["id"]
    await http.post(f"/v1/executions/{id}/cancel")
    told = (await called(http, "redrive", [id]))[id]
    assert not told["ok"]
    assert "TOKEN" in told["detail"]


async def test_executions_of_another_org(server: RunningServer, http: httpx.AsyncClient) -> None:
    """They do not exist for a bulk call either, and stay as they are."""
    of_a, of_b = await key(server, "admin", org="a"), await key(server, "admin", org="b")
    async with http_client(server, of_a) as a, http_client(server, of_b) as b:
        id = (await created(a))["metadata"]["id"]
        for verb in ("cancel", "redrive", "delete"):
            assert (await called(b, verb, [id]))[id]["code"] == "NOT_FOUND"
        assert await phase(a, id) == "EXECUTION_PENDING"


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": ["x"] * (MAX_IDS + 1)}, {"ids": [""]}, {"ids": "x"}, []])
async def test_what_is_no_list_of_ids(http: httpx.AsyncClient, body: Any) -> None:
    """It is refused before anything is done."""
    for verb in ("cancel", "redrive", "delete"):
        assert_problem(await http.post(f"/v1/executions:{verb}", json=body), 400, "INVALID_ARGUMENT")


async def test_the_scopes_of_bulk_calls(server: RunningServer, http: httpx.AsyncClient) -> None:
    """As those of the calls for one: reading does not cancel, executing does not delete."""
    for scope, refused in (("read", ("cancel", "redrive", "delete")), ("execute", ("delete",))):
        async with http_client(server, await key(server, scope)) as caller:
            for verb in ("cancel", "redrive", "delete"):
                answer = await caller.post(f"/v1/executions:{verb}", json={"ids": ["aex-none"]})
                assert (answer.status_code == 403) == (verb in refused)
