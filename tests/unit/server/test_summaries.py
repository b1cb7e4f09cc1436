"""Light rows over HTTP: small, filtered as pages and counts alike, and each org's own."""

import contextlib
import json
import sqlite3
from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import agent, key, made
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True

MOST_BYTES = 20_000


async def rows(http: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    answer = await http.get("/v1/executions", params={"view": "summary", **params})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["executions"]
    return found


async def counts(http: httpx.AsyncClient, **params: Any) -> dict[str, int]:
    answer = await http.get("/v1/executions/counts", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["more"] is False
    return {name: n for name, n in answer.json()["phases"].items() if n}


async def test_a_row_over_http(http: httpx.AsyncClient, worker: Worker) -> None:
    """It has the times, the place and the worker of an execution, and nothing of its conversation."""
    await made(http, "/v1/agents", agent("Helper"))
    new = await created(http, message="m" * 500, agent="helper")
    claimed = await worker.claim(new["metadata"]["id"])
    await worker.say(claimed, "x" * 100_000, number=0)
    await worker.settle(claimed, number=1, output={"report": "y" * 1000})
    (row,) = await rows(http)
    whole = (await http.get(f"/v1/executions/{new['metadata']['id']}")).json()
    assert row["id"] == whole["metadata"]["id"]
    assert row["phase"] == "EXECUTION_COMPLETED"
    assert row["message"] == "m" * 119 + "…"
    assert (row["agent"], row["worker"], row["attempt"]) == ("helper", "w1", 1)
    assert row["sessionId"] == whole["spec"]["session_id"]
    assert row["createdAt"] == whole["status"]["audit"]["spec_audit"]["created_at"]
    assert row["createdAt"] <= row["startedAt"] <= row["endedAt"]
    assert row["waitSeconds"] >= 0
    assert not {"code", "graph", "labels", "tokens", "waitingForInput"} & row.keys(), (
        "what there is none of is left out"
    )


async def test_a_refresh_is_small(http: httpx.AsyncClient, worker: Worker) -> None:
    """Fifty rows of long messages weigh at most 20 kB on the way, a long conversation among them or not."""
    for n in range(50):
        await created(http, message=f"{n} what a long message, with many words that nobody wrote twice {n * 7919} " * 9)
    claimed = await worker.claim((await rows(http))[0]["id"])
    await worker.say(claimed, "x" * 300_000, number=0)
    async with http.stream("GET", "/v1/executions", params={"view": "summary"}) as answer:
        weight = sum([len(piece) async for piece in answer.aiter_raw()])
        assert answer.headers["content-encoding"] == "gzip"
    assert weight <= MOST_BYTES
    plain = await http.get("/v1/executions", params={"view": "summary"}, headers={"Accept-Encoding": "identity"})
    assert len(plain.json()["executions"]) == 50
    assert len(plain.content) <= 1.5 * MOST_BYTES


async def test_filters_over_http(http: httpx.AsyncClient, worker: Worker) -> None:
    """Rows, entries and counts choose alike; the counts show every phase, whatever the phase that is asked for."""
    first, second, third = [(await created(http, message=f"number {n} of three"))["metadata"]["id"] for n in range(3)]
    await worker.settle(await worker.claim(first), number=0)
    await http.post(f"/v1/executions/{second}/cancel")
    body = {
        "kind": "AgentExecution",
        "metadata": {"name": "labelled", "labels": {"team": "red:1"}},
        "spec": {
            "message": "a fourth",
            "agent_id": (await http.get("/v1/agents/agent-runner")).json()["metadata"]["id"],
        },
    }
    fourth = await made(http, "/v1/executions", {"api_version": "agentic.stigmer.ai/v1", **body})
    fourth_id = fourth["metadata"]["id"]
    begun = fourth["status"]["audit"]["spec_audit"]["created_at"]
    for params, expected in (
        ({"phase": ["COMPLETED", "EXECUTION_CANCELLED"]}, [second, first]),
        ({"phase": ""}, [fourth_id, third, second, first]),
        ({"code": "e401"}, [second]),
        ({"q": "NUMBER 1"}, [second]),
        ({"q": third}, [third]),
        ({"label": "team:red:1"}, [fourth_id]),
        ({"label": ["team:red:1", "team:blue"]}, []),
        ({"created_after": begun}, [fourth_id]),
        ({"created_before": begun}, [third, second, first]),
        ({"session": fourth["spec"]["session_id"]}, [fourth_id]),
        ({"session_id": fourth["spec"]["session_id"]}, [fourth_id]),
        ({"graph": "none"}, []),
    ):
        assert [row["id"] for row in await rows(http, **params)] == expected, params
        listed = (await http.get("/v1/executions", params=params)).json()
        assert ([one["metadata"]["id"] for one in listed["entries"]], listed["total"]) == (expected, len(expected))
    assert await counts(http, phase="COMPLETED") == {
        "EXECUTION_COMPLETED": 1, "EXECUTION_CANCELLED": 1, "EXECUTION_PENDING": 2,
    }  # fmt: skip
    assert await counts(http, q="number") == {
        "EXECUTION_COMPLETED": 1, "EXECUTION_CANCELLED": 1, "EXECUTION_PENDING": 1,
    }  # fmt: skip
    (labelled,) = await rows(http, label="team:red:1")
    assert labelled["labels"] == {"team": "red:1"}


@pytest.mark.parametrize("below_a_millisecond", [-0.0004, 0.0, 0.0004])
async def test_a_time_finds_what_is_shown_with_it(
    http: httpx.AsyncClient, server: RunningServer, below_a_millisecond: float
) -> None:
    """A row's own time chooses it, however the time that is shown was rounded."""
    id = (await created(http))["metadata"]["id"]
    at = 1_796_041_064.94 + below_a_millisecond
    file = server.ctx.settings.data_dir / "agent-runner.db"
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database, database:
        database.execute("update executions set created_at = ? where id = ?", (at, id))
    (row,) = await rows(http)
    shown = row["createdAt"]
    assert [one["id"] for one in await rows(http, created_after=shown)] == [id]
    assert await rows(http, created_before=shown) == []


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": "2026-11-29T08:00:00"}, "created_before"),
        ({"label": "team"}, "label"),
        ({"phase": "DONE"}, "phase"),
        ({"q": "x" * 201}, "q"),
        ({"session": "a", "session_id": "b"}, "session"),
        ({"page_token": "nonsense"}, "page_token"),
    ],
)
async def test_what_is_no_filter(http: httpx.AsyncClient, params: dict[str, str], named: str) -> None:
    """It is refused by its name, in each of the views."""
    for view in ("summary", "brief"):
        answer = await http.get("/v1/executions", params={"view": view, **params})
        assert named in assert_problem(answer, 400, "INVALID_ARGUMENT")["detail"]


async def test_rows_and_counts_of_another_org(server: RunningServer, http: httpx.AsyncClient) -> None:
    """They are neither shown nor counted, by whatever filter they are asked for."""
    of_a, of_b = await key(server, "execute", org="a"), await key(server, "read", org="b")
    async with http_client(server, of_a) as a, http_client(server, of_b) as b:
        mine = await created(a, message="the plan of a")
        for params in (
            {}, {"org": "a"}, {"q": "plan"}, {"q": mine["metadata"]["id"]}, {"phase": "PENDING"},
            {"session": mine["spec"]["session_id"]}, {"created_after": "2026-01-01T00:00:00Z"},
        ):  # fmt: skip
            assert await rows(b, **params) == []
            assert await counts(b, **params) == {}
        assert [row["id"] for row in await rows(a)] == [mine["metadata"]["id"]]
        assert await counts(a, phase="FAILED") == {"EXECUTION_PENDING": 1}
    assert json.dumps(await rows(http)).count("the plan of a") == 1
