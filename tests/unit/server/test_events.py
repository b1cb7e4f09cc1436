"""The event stream, and what can be done with an execution after its creation."""

import asyncio
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.log_feed import follow, watchers
from agent_runner.status.log.log import LogRow, fold, render
from tests.unit.server.conftest import Worker, created, sse
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


async def finished(http: httpx.AsyncClient, worker: Worker, replies: int = 3) -> str:
    id = str((await created(http))["metadata"]["id"])
    claimed = await worker.claim(id)
    for number in range(replies):
        await worker.say(claimed, f"reply {number}", number=number)
    await worker.settle(claimed, number=replies)
    return id


async def log_of(server: RunningServer, id: str) -> list[LogRow]:
    return await server.ctx.store.read_log(id)


async def test_the_stream_of_a_finished_execution(http: httpx.AsyncClient, worker: Worker) -> None:
    """A snapshot of everything, then the end, then the stream closes."""
    id = await finished(http, worker)
    answer = await http.get(f"/v1/executions/{id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    (first, first_id, snapshot), (last, last_id, end) = sse(answer.text)
    assert (first, last) == ("snapshot", "end")
    assert first_id == last_id == str(snapshot["seq"]) == str(end["seq"])
    assert end == {"seq": int(last_id), "phase": "EXECUTION_COMPLETED", "error_code": ""}
    assert snapshot["execution"] == (await http.get(f"/v1/executions/{id}")).json()


async def test_resume_from_every_position(http: httpx.AsyncClient, server: RunningServer, worker: Worker) -> None:
    """From any position come exactly the later rows, once each, and the end (law L7)."""
    id = await finished(http, worker)
    rows = await log_of(server, id)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    for position in range(len(rows) + 1):
        answer = await http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": str(position)})
        *updates, end = sse(answer.text)
        assert [int(event_id) for _, event_id, _ in updates] == list(range(position + 1, len(rows) + 1))
        assert [(d["kind"], d["payload"], d["fence"]) for _, _, d in updates] == [
            (row.kind, row.payload, row.fence) for row in rows[position:]
        ]
        assert end[0] == "end"


async def test_status_is_the_fold_of_what_was_streamed(http: httpx.AsyncClient, worker: Worker) -> None:
    """The updates from the beginning fold to the status that the server shows (law L6)."""
    id = await finished(http, worker)
    events = sse((await http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": "0"})).text)
    rows = [
        LogRow(seq=d["seq"], at=0.0, fence=d["fence"], kind=d["kind"], payload=d["payload"])
        for name, _, d in events
        if name == "update"
    ]
    shown = (await http.get(f"/v1/executions/{id}")).json()["status"]
    folded = render(fold(rows))
    assert [m["content"] for m in folded["messages"]] == [m["content"] for m in shown["messages"]]
    assert folded["phase"] == shown["phase"]


async def test_a_change_of_phase_carries_the_phase(http: httpx.AsyncClient, worker: Worker) -> None:
    """Update events of phase rows name the phase, all others do not."""
    id = await finished(http, worker)
    events = sse((await http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": "0"})).text)
    phases = [data.get("phase") for name, _, data in events if name == "update"]
    assert [p for p in phases if p] == ["EXECUTION_PENDING", "EXECUTION_IN_PROGRESS", "EXECUTION_COMPLETED"]


@pytest.mark.parametrize("position", ["99", "-1", "abc", "1.0", "9" * 30])
async def test_a_position_that_cannot_be_served(http: httpx.AsyncClient, position: str) -> None:
    """A position beyond the log, or none at all, gets a typed error event and never a silent gap."""
    id = (await created(http))["metadata"]["id"]
    answer = await http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": position})
    ((name, event_id, data),) = sse(answer.text)
    assert (name, event_id) == ("error", "")
    assert data["code"] == "OUT_OF_RANGE"
    assert data["next_step"]


async def test_live_rows_arrive_and_the_end_closes(http: httpx.AsyncClient, worker: Worker) -> None:
    """A reader of a running execution sees every row as it is written, then the end."""
    id = (await created(http))["metadata"]["id"]
    seen: list[tuple[str, Any]] = []

    async def read() -> None:
        async with aconnect_sse(http, "GET", f"/v1/executions/{id}/events") as source:
            async for event in source.aiter_sse():
                seen.extend([(event.event, event.json())])

    reading = asyncio.create_task(read())
    async with asyncio.timeout(20):
        while not seen:
            await asyncio.sleep(0.01)
        claimed = await worker.claim(id)
        await worker.say(claimed, "live", number=0)
        while not any(d.get("payload", {}).get("content") == "live" for _, d in seen):
            await asyncio.sleep(0.01)
        await worker.settle(claimed, number=1)
        await reading
    seqs = [data["seq"] for name, data in seen if name == "update"]
    assert seen[0][0] == "snapshot"
    assert seqs == list(range(seen[0][1]["seq"] + 1, seen[-1][1]["seq"] + 1))
    assert seen[-1][0] == "end"


async def test_rows_come_without_any_wake_up(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost wake-up costs at most the second after which a reader looks by itself."""
    monkeypatch.setattr(watchers, "LOOK_EVERY_S", 0.05)
    id = (await created(http))["metadata"]["id"]
    reading = asyncio.create_task(http.get(f"/v1/executions/{id}/events"))
    await asyncio.sleep(0)
    await server.ctx.store.request_cancel(id, "a test")
    assert sse((await reading).text)[-1][2]["phase"] == "EXECUTION_CANCELLED"


async def test_a_quiet_stream_is_pinged(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing happens the stream says so with comments, so that a dead connection is noticed."""
    monkeypatch.setattr(watchers, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(follow, "QUIET_S", 0.05)
    id = (await created(http))["metadata"]["id"]
    async with http.stream("GET", f"/v1/executions/{id}/events", headers={"Last-Event-ID": "2"}) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == ": ping"
        assert await anext(lines) == ""
        assert await anext(lines) == ": ping"


async def test_a_reader_that_leaves_is_forgotten(own_http: httpx.AsyncClient) -> None:
    """When a client goes away its stream is closed on the server, also while nothing happens."""
    id = (await created(own_http))["metadata"]["id"]
    async with own_http.stream("GET", f"/v1/executions/{id}/events") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "id: 2"
        assert "agent_runner_event_streams 1.0" in (await own_http.get("/metrics")).text
    async with asyncio.timeout(20):
        while "agent_runner_event_streams 0.0" not in (await own_http.get("/metrics")).text:
            await asyncio.sleep(0.02)


async def test_create_and_stream_in_one_request(http: httpx.AsyncClient) -> None:
    """POST with Accept: text/event-stream answers 201 and the stream of what it made."""
    headers = {"Accept": "text/event-stream"}
    async with aconnect_sse(http, "POST", "/v1/executions", json={"message": "hello"}, headers=headers) as source:
        assert source.response.status_code == 201
        events = source.aiter_sse()
        first = await anext(events)
        assert first.event == "snapshot"
        id = first.json()["execution"]["metadata"]["id"]
        assert source.response.headers["location"] == f"/v1/executions/{id}"
        await http.post(f"/v1/executions/{id}/cancel")
        assert [e.event async for e in events][-1] == "end"


async def test_pages_of_a_long_log(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log longer than a page is streamed whole."""
    for module in (follow, watchers):
        monkeypatch.setattr(module, "PAGE_ROWS", 2)
    id = await finished(http, worker, replies=7)
    events = sse((await http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": "0"})).text)
    assert [int(event_id) for name, event_id, _ in events if name == "update"] == [
        row.seq for row in await log_of(server, id)
    ]


async def test_an_unknown_execution_has_no_stream(http: httpx.AsyncClient) -> None:
    """Before the stream begins an unknown id is an ordinary 404."""
    assert_problem(await http.get("/v1/executions/aex-none/events"), 404, "NOT_FOUND")


async def test_cancel_before_a_worker_has_it(http: httpx.AsyncClient) -> None:
    """A pending execution is CANCELLED at once with E401; cancelling again changes nothing; an unknown id is a 404."""
    id = (await created(http))["metadata"]["id"]
    first = await http.post(f"/v1/executions/{id}/cancel")
    assert first.status_code == 202
    assert first.json()["status"]["phase"] == "EXECUTION_CANCELLED"
    assert "[E401 CANCELLED]" in first.json()["status"]["error"]
    assert (await http.post(f"/v1/executions/{id}/cancel")).json() == first.json()
    assert_problem(await http.post("/v1/executions/aex-none/cancel"), 404, "NOT_FOUND")


async def test_cancel_lets_the_next_of_the_session_go(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Cancelling the execution in front publishes the one behind it, without waiting for the re-send."""
    first = await created(http)
    second = await created(http, session_id=first["spec"]["session_id"])
    id = second["metadata"]["id"]
    waiting = await server.ctx.store.get(id)
    assert waiting is not None
    assert waiting.dispatched_at is None
    await http.post(f"/v1/executions/{first['metadata']['id']}/cancel")
    async with asyncio.timeout(20):
        while (row := await server.ctx.store.get(id)) is None or row.dispatched_at is None:
            await asyncio.sleep(0.02)


async def test_delete_only_what_has_ended(http: httpx.AsyncClient) -> None:
    """An open execution cannot be deleted; an ended one can, once."""
    path = f"/v1/executions/{(await created(http))['metadata']['id']}"
    assert_problem(await http.delete(path), 409, "FAILED_PRECONDITION")
    await http.post(f"{path}/cancel")
    assert (await http.delete(path)).status_code == 200
    assert_problem(await http.delete(path), 404, "NOT_FOUND")
    assert_problem(await http.get(path), 404, "NOT_FOUND")


async def test_redrive_runs_the_same_again(http: httpx.AsyncClient, server: RunningServer) -> None:
    """A redrive has the same message, session, model and timeouts, and names what it came from."""
    old = await created(http, message="again", model="m", timeouts={"heartbeat_s": 4})
    path = f"/v1/executions/{old['metadata']['id']}"
    assert_problem(await http.post(f"{path}/redrive"), 409, "FAILED_PRECONDITION")
    await http.post(f"{path}/cancel")
    answer = await http.post(f"{path}/redrive")
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert new["redriven_from"] == old["metadata"]["id"]
    assert new["metadata"]["id"] != old["metadata"]["id"]
    assert new["spec"] == old["spec"]
    row = await server.ctx.store.get(new["metadata"]["id"])
    assert row is not None
    assert row.timeouts.heartbeat_s == 4


async def test_redrive_needs_the_secrets_again(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Secrets do not outlive their execution: a redrive without them is refused by name, with them it runs."""
    old = await created(http, env={"K": "v"})
    path = f"/v1/executions/{old['metadata']['id']}"
    await http.post(f"{path}/cancel")
    assert "K" in assert_problem(await http.post(f"{path}/redrive"), 409, "FAILED_PRECONDITION")["detail"]
    answer = await http.post(f"{path}/redrive", json={"env": {"K": "w"}})
    assert answer.status_code == 201, answer.text
    row = await server.ctx.store.get(answer.json()["metadata"]["id"])
    assert row is not None
    assert server.ctx.sealing.open_env(row.sealed_env)["K"].value == "w"


async def test_lists_are_newest_first_and_filtered(http: httpx.AsyncClient) -> None:
    """Pages go from new to old without overlap; phase, session and agent choose."""
    ids = [(await created(http, message=str(n)))["metadata"]["id"] for n in range(5)]
    await http.post(f"/v1/executions/{ids[0]}/cancel")
    seen: list[str] = []
    token = ""
    while True:
        page = (await http.get("/v1/executions", params={"page_size": 2, "page_token": token})).json()
        seen += [e["metadata"]["id"] for e in page["entries"]]
        if not (token := page["next_page_token"]):
            break
    assert seen == ids[::-1]
    one = (await http.get(f"/v1/executions/{ids[0]}")).json()
    for query in (
        {"phase": "cancelled"},
        {"phase": "EXECUTION_CANCELLED"},
        {"session_id": one["spec"]["session_id"]},
    ):
        entries = (await http.get("/v1/executions", params=query)).json()["entries"]
        assert [e["metadata"]["id"] for e in entries] == [ids[0]]
    assert (await http.get("/v1/executions", params={"agent": "agent-runner"})).json()["total"] == 5
    for bad in ({"phase": "nonsense"}, {"page_token": "nonsense"}, {"page_size": "x"}):
        assert_problem(await http.get("/v1/executions", params=bad), 400, "INVALID_ARGUMENT")
