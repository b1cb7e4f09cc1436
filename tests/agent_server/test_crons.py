"""Crons by LangGraph's own client: they are schedules, their runs are executions, and both APIs show the same."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import BadRequestError, NotFoundError, UnprocessableEntityError

from agent_runner.app.server.agent_server.uuids import cron_uuid, execution_of, run_uuid, schedule_of, thread_uuid
from agent_runner.app.server.composition import RunningServer
from tests.agent_server.test_runs import COUNTED, ended
from tests.integration.stack import Stack
from tests.support.waiting import eventually
from tests.support.webhook_receiver import receiver
from tests.unit.server.conftest import KEY, http_client, own_server, own_settings, redis_url, server, settings
from tests.unit.server.identity import key
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_schedules import Ahead, ahead, history

__all__ = ["ahead", "own_server", "own_settings", "redis_url", "server", "settings"]
GRAPH = "agent-runner"
FIELDS = {"cron_id", "assistant_id", "thread_id", "user_id", "end_time", "schedule", "timezone", "payload", "enabled",
          "next_run_date", "metadata", "on_run_completed", "created_at", "updated_at"}  # fmt: skip


@pytest.fixture
async def sdk(server: RunningServer) -> AsyncIterator[Any]:
    async with get_client(url=f"http://127.0.0.1:{server.http_port}", api_key=KEY) as client:
        yield client


async def test_a_cron_is_shown_as_it_was_sent(sdk: Any) -> None:
    """Every field that the client sends comes back; the next time is by the clocks of its zone."""
    end = datetime(2999, 1, 1, tzinfo=UTC)
    made = await sdk.crons.create(
        GRAPH, schedule="0 3 * * *", input={"messages": "hi"}, metadata={"for": "it"}, timezone=ZoneInfo("Asia/Tokyo"),
        end_time=end, enabled=False, on_run_completed="keep", stream_mode=["values", "updates"], durability="sync",
        interrupt_before=["model"], config={"tags": ["t"], "configurable": {"a": 1}},
    )  # fmt: skip
    assert made.keys() == FIELDS
    assert (made["schedule"], made["timezone"], made["enabled"]) == ("0 3 * * *", "Asia/Tokyo", False)
    assert (made["metadata"], made["on_run_completed"], made["thread_id"]) == ({"for": "it"}, "keep", None)
    assert datetime.fromisoformat(made["end_time"]) == end
    assert datetime.fromisoformat(made["next_run_date"]).astimezone(ZoneInfo("Asia/Tokyo")).hour == 3
    payload = made["payload"]
    assert payload["config"] == {"tags": ["t"], "configurable": {"a": 1, "cron_id": made["cron_id"]}}
    assert (payload["input"], payload["stream_mode"]) == ({"messages": "hi"}, ["values", "updates"])
    assert await sdk.http.get(f"/runs/crons/{made['cron_id']}") == made


async def test_crons_are_searched_counted_changed_and_deleted(sdk: Any) -> None:
    """By thread, assistant, metadata and whether they are enabled; sorted, in pages, with fields chosen."""
    thread = (await sdk.threads.create())["thread_id"]
    first = await sdk.crons.create(GRAPH, schedule="0 1 * * *", input={}, metadata={"n": 1})
    second = await sdk.crons.create_for_thread(
        thread, GRAPH, schedule="0 2 * * *", input={}, multitask_strategy="interrupt", metadata={"n": 2}
    )
    assert (second["thread_id"], second["on_run_completed"]) == (thread, None)
    assert await sdk.crons.count() == 2
    assert await sdk.crons.count(thread_id=thread) == 1
    found = await sdk.crons.search(assistant_id=first["assistant_id"], sort_by="created_at", sort_order="asc", limit=1)
    assert [one["cron_id"] for one in found] == [first["cron_id"]]
    assert await sdk.crons.search(thread_id=thread, select=["cron_id"]) == [{"cron_id": second["cron_id"]}]
    assert await sdk.http.post("/runs/crons/count", json={"metadata": {"n": 1}}) == 1
    changed = await sdk.crons.update(
        first["cron_id"], schedule="30 4 * * *", enabled=False, end_time=datetime.now(UTC) + timedelta(days=9)
    )
    assert (changed["schedule"], changed["enabled"], changed["payload"]["metadata"]) == ("30 4 * * *", False, {"n": 1})
    assert changed["end_time"] is not None
    assert changed["updated_at"] > first["updated_at"]
    again = await sdk.crons.update(first["cron_id"], end_time=None, enabled=True)
    assert (again["end_time"], again["enabled"], "end_time" in again["payload"]) == (None, True, False)
    assert [one["cron_id"] for one in await sdk.crons.search(enabled=True, thread_id=thread)] == [second["cron_id"]]
    await sdk.crons.delete(first["cron_id"])
    for gone in (sdk.crons.delete(first["cron_id"]), sdk.crons.update(first["cron_id"], enabled=True)):
        with pytest.raises(NotFoundError):
            await gone


async def test_what_could_not_run_is_refused_when_it_is_made(sdk: Any) -> None:
    """With the status that the client knows for it."""
    missing = str(uuid.uuid4())
    for schedule, zone in (("nope", None), ("* * * * * *", None), ("* * * * *", "Mars/One"), ("0 0 31 2 *", None)):
        with pytest.raises(UnprocessableEntityError, match="Invalid"):
            await sdk.crons.create(GRAPH, schedule=schedule, timezone=zone, input={})
    with pytest.raises(NotFoundError, match="nope"):
        await sdk.crons.create("nope", schedule="@daily", input={})
    with pytest.raises(NotFoundError, match=missing):
        await sdk.crons.create(missing, schedule="@daily", input={})
    with pytest.raises(NotFoundError, match=missing):
        await sdk.crons.create_for_thread(missing, GRAPH, schedule="@daily", input={})
    with pytest.raises(UnprocessableEntityError, match="webhook"):
        await sdk.crons.create(GRAPH, schedule="@daily", input={}, webhook="http://127.0.0.1/x")
    with pytest.raises(BadRequestError):
        await sdk.crons.create(GRAPH, schedule="@daily", context={"a": 1}, config={"configurable": {"a": 1}})
    made = await sdk.crons.create(GRAPH, schedule="@daily", input={})
    with pytest.raises(BadRequestError):
        await sdk.http.patch(f"/runs/crons/{made['cron_id']}", json={})
    with pytest.raises(UnprocessableEntityError):
        await sdk.crons.update("no-uuid", enabled=True)
    assert await sdk.crons.count() == 1


async def test_a_cron_fires_into_its_thread(sdk: Any, server: RunningServer, ahead: Ahead) -> None:
    """By the database's clock; the run names the cron, and a second one waits behind it."""
    thread = (await sdk.threads.create())["thread_id"]
    cron = await sdk.crons.create_for_thread(thread, GRAPH, schedule="0 2 * * *", input={"messages": "hi"})
    async with http_client(server) as http:
        ahead.to(cron["next_run_date"])
        (firing,) = await history(http, schedule_of(cron["cron_id"]))
    assert firing["outcome"] == "fired"
    (run,) = await sdk.runs.list(thread)
    assert execution_of(run["run_id"]) == firing["execution_id"]
    assert run["metadata"]["cron_id"] == cron["cron_id"]
    (now,) = await sdk.crons.search()
    assert now["next_run_date"] > cron["next_run_date"]


async def test_a_cron_of_another_org_is_not_there(server: RunningServer) -> None:
    """Nor is a schedule that /v1 made: it is no cron. A cron is a schedule of its org."""
    mine, others = await key(server, "execute", org="a"), await key(server, "execute", org="b")
    url = f"http://127.0.0.1:{server.http_port}"
    async with get_client(url=url, api_key=mine) as a, get_client(url=url, api_key=others) as b:
        cron: Any = await a.crons.create(GRAPH, schedule="@daily", input={})
        assert (await a.crons.count(), await b.crons.count()) == (1, 0)
        for call in (b.crons.update(cron["cron_id"], enabled=False), b.crons.delete(cron["cron_id"])):
            with pytest.raises(NotFoundError):
                await call
        async with http_client(server, mine) as http:
            (listed,) = (await http.get("/v1/schedules")).json()["schedules"]
            assert (listed["id"], listed["api"], listed["org"]) == (schedule_of(cron["cron_id"]), "agent_server", "a")
            for field, value in (("execution", {"message": "m"}), ("session_id", "ses-x"), ("at", ["2999-01-01"])):
                refused = await http.patch(f"/v1/schedules/{listed['id']}", json={field: value})
                assert_problem(refused, 409, "FAILED_PRECONDITION")
            assert (await http.post(f"/v1/schedules/{listed['id']}/pause")).json()["paused"]
            body = {"name": "x", "cron": "@daily", "execution": {"message": "m"}}
            ours = (await http.post("/v1/schedules", json=body)).json()["id"]
        with pytest.raises(NotFoundError):
            await a.crons.delete(cron_uuid(ours))


@pytest.mark.parametrize("kept", [True, False])
async def test_a_run_of_a_cron_runs(client: Any, served: Stack, kept: bool) -> None:
    """On a real worker: with `keep` its thread stays with the values, with `delete` nothing of it stays."""
    cron = await client.crons.create(
        "count", schedule="@yearly", input={"n": 1}, on_run_completed="keep" if kept else "delete"
    )
    thread, run = fired(served, cron)
    status = await ended(client, thread, run)
    assert status in (("success",) if kept else ("success", "")), served.get(execution_of(run))["status"]
    if kept:
        assert (await client.threads.get_state(thread))["values"] == COUNTED
    await client.crons.delete(cron["cron_id"])


async def test_the_webhook_of_a_cron_is_sealed_and_called(client: Any, served: Stack) -> None:
    """Its address may hold a secret: it is never shown, and a change of something else keeps it."""
    with receiver() as (url, calls):
        cron = await client.crons.create("count", schedule="@yearly", input={"n": 1}, webhook=url)
        changed = await client.crons.update(cron["cron_id"], schedule="@monthly")
        shown = served.http.get("/v1/schedules").text
        assert "token=" not in f"{cron}{changed}{await client.crons.search()}{shown}"
        _, run = fired(served, cron)
        eventually(lambda: calls, what="the call", within_s=40)
        assert calls[0].told["run_id"] == run
    await client.crons.delete(cron["cron_id"])


def fired(stack: Stack, cron: dict[str, Any]) -> tuple[str, str]:
    """The thread and the run of a firing by hand."""
    made = stack.http.post(f"/v1/schedules/{schedule_of(cron['cron_id'])}/fire")
    assert made.status_code == 201, made.text
    body = made.json()
    return thread_uuid(body["spec"]["session_id"]), run_uuid(body["metadata"]["id"])
