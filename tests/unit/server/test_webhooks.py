"""Webhooks of executions under /v1: asked for in the request or by the server's settings, called by the server."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.webhooks import webhook_sender
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.failures import Code
from tests.support.log_lines import kept_objects
from tests.support.webhook_receiver import Call, receiver
from tests.unit.server.conftest import AUTHORIZED, Worker, created, http_client, settings_of
from tests.unit.server.test_answer_tokens import APPROVAL, asking
from tests.unit.server.test_create import assert_problem

SECRET = "a secret for webhooks"


@pytest.fixture
def own_settings(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(webhook_sender, "EVERY_S", 0.05)
    calling = {"webhook_private": True, "webhook_secret": SecretStr(SECRET)}
    return settings_of(tmp_path, redis_url).model_copy(update=calling)


async def until(found: Callable[[], bool]) -> None:
    """The server runs in this loop: it is let go on."""
    async with asyncio.timeout(20):
        while not found():
            await asyncio.sleep(0.02)


def told(calls: list[Call]) -> list[str]:
    return [call.told["event"] for call in calls]


async def failed(server: RunningServer, worker: Worker, id: str) -> None:
    await worker.claim(id)
    assert (await server.ctx.store.fail(id, Code.APPLICATION, {"original_error": "no such file"})).accepted


async def test_start_question_and_end_are_told(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """Small, signed with the caller's own secret, with its headers; the question brings a token that answers it, and
    the execution with the answer is told of too."""
    with receiver(500) as (url, calls):
        hook = {"url": url, "headers": {"Authorization": "Bearer theirs"}, "secret": "own", "answer_tokens": True}
        id = await asking(server, http, worker, webhook=hook, message="a long story")
        await until(lambda: len(calls) >= 2)
        assert set(told(calls)) == {"start", "question"}
        await until(lambda: len(calls) >= 3)  # the first was refused
        by_event = {call.told["event"]: call for call in calls}
        for call in calls:
            assert call.is_signed_with("own")
            assert not call.is_signed_with(SECRET)
            assert call.headers["Authorization"] == "Bearer theirs"
            assert call.headers["X-Agent-Runner-Delivery"] == call.told["delivery_id"]
            assert call.told["execution"]["id"] == id
            assert b"a long story" not in call.body
        assert calls[0].told["delivery_id"] in {call.told["delivery_id"] for call in calls[1:]}
        (question,) = by_event["question"].told["questions"]
        assert (question["id"], question["text"]) == (APPROVAL["id"], APPROVAL["text"])
        assert by_event["question"].told["waiting_for_input"] is True
        async with http_client(server, key="") as visitor:
            del visitor.headers["authorization"]
            assert (await visitor.get(question["answer"]["url"])).json()["question"] == APPROVAL
            answered = await visitor.post(question["answer"]["url"], json={"answer": "approve"})
        next_id = answered.json()["execution_id"]
        await failed(server, worker, next_id)
        await until(lambda: len(calls) >= 5)
        start, end = (call.told for call in calls[3:])
        assert {start["execution"]["id"], end["execution"]["id"]} == {next_id}
        assert {start["event"], end["event"]} == {"start", "end"}
        ended = end if end["event"] == "end" else start
        assert (ended["phase"], ended["code"]) == ("EXECUTION_FAILED", "E301")
        assert "no such file" in ended["reason"]
        assert ended["next_step"]


async def test_only_what_is_wanted_and_no_token_unasked(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker
) -> None:
    """A plain address means all events; a list means these."""
    with receiver() as (url, calls):
        await asking(server, http, worker, webhook={"url": url, "events": ["question"]})
        await until(lambda: bool(calls))
        id = (await created(http, webhook=url))["metadata"]["id"]
        await failed(server, worker, id)
        await until(lambda: len(calls) >= 3)
        assert told(calls)[0] == "question"
        assert sorted(told(calls)[1:]) == ["end", "start"]
        assert "answer" not in calls[0].told["questions"][0]
        assert all(call.is_signed_with(SECRET) for call in calls)


async def test_the_contract_s_form_names_it_too(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, channel: Any
) -> None:
    """As an annotation, over HTTP and gRPC, which is not kept as one; an update cannot change it."""
    stub: Any = command_pb2_grpc.AgentExecutionCommandControllerStub(channel)
    session = (await created(http))["spec"]["session_id"]
    with receiver() as (url, calls):
        wanted = json.dumps({"url": url, "events": ["end"]})
        sent = AgentExecution(api_version="agentic.stigmer.ai/v1", kind="AgentExecution")
        sent.metadata.name, sent.spec.session_id, sent.spec.message = "called", session, "hello"
        sent.metadata.annotations["agent-runner/webhook"] = wanted
        made = await stub.create(sent, metadata=AUTHORIZED)
        assert "agent-runner/webhook" not in made.metadata.annotations
        await server.ctx.store.request_cancel(made.metadata.id, "somebody")
        await until(lambda: bool(calls))
        assert (calls[0].told["event"], calls[0].told["phase"]) == ("end", "EXECUTION_CANCELLED")
        made.metadata.annotations["agent-runner/webhook"] = wanted
        with pytest.raises(Exception, match="cannot be changed"):
            await stub.update(made, metadata=AUTHORIZED)


async def test_the_server_s_own_webhook(settings: Settings) -> None:
    """Of every execution that names none, also at a private address, for it is the operator's."""
    with receiver() as (url, calls), receiver() as (theirs, others):
        own = {"webhook_url": SecretStr(url), "webhook_events": "end", "webhook_private": False}
        async with running_server(settings.model_copy(update=own)) as server, http_client(server) as http:
            ids = [(await created(http))["metadata"]["id"] for _ in range(2)]
            assert (
                "webhook"
                in assert_problem(
                    await http.post("/v1/executions", json={"message": "a", "webhook": theirs}), 400, "INVALID_ARGUMENT"
                )["detail"]
            )
            for id in ids:
                await server.ctx.store.request_cancel(id, "somebody")
            await until(lambda: len(calls) >= 2)
        assert {call.told["execution"]["id"] for call in calls} == set(ids)
        assert others == []


async def test_what_cannot_be_called_is_refused(http: httpx.AsyncClient) -> None:
    """Before there is an execution, with the field and without the value."""
    here = "https://example.com"
    refused: list[tuple[Any, str]] = [
        ({"url": "https://example.com/", "secret": "a\0"}, "webhook.secret"),
        (7, "webhook: must be"),
        ({}, "webhook.url"),
        ("ftp://example.com/", "webhook: it must be a whole address"),
        ("https://user:pw@example.com/", "headers"),
        ({"url": here, "events": ["middle"]}, "webhook.events"),
        ({"url": here, "headers": {"Content-Length": "7"}}, "Content-Length"),
        ({"url": here, "headers": {"X-A": "a\r\nb"}}, "X-A"),
        ({"url": here, "colour": "red"}, "colour"),
    ]
    for hook, named in refused:
        answer = await http.post("/v1/executions", json={"message": "a", "webhook": hook})
        detail = assert_problem(answer, 400, "INVALID_ARGUMENT")["detail"]
        assert named in detail
        assert "pw@" not in detail


async def test_nothing_of_it_is_shown(server: RunningServer, http: httpx.AsyncClient) -> None:
    """Address, headers and secret are sealed in the database, and in no answer, list, event or line."""
    hook = {
        "url": "http://127.0.0.1:1/path-of-theirs?key=in-the-address",
        "headers": {"X-Key": "in-a-header"},
        "secret": "in-the-secret",
    }
    with kept_objects(logger="", level="DEBUG") as lines:
        made = await created(http, webhook=hook)
        id = made["metadata"]["id"]
        await server.ctx.store.request_cancel(id, "somebody")
        await until(lambda: any(line.get("event") == "webhook.failed" for line in lines))
        events = (await http.get(f"/v1/executions/{id}/events")).text
        listed = (await http.get("/v1/executions?view=full")).text
    engine = create_engine(server.ctx.settings.database_url)
    with engine.connect() as connection:
        tables = connection.execute(text("select name from sqlite_master where type = 'table'")).scalars().all()
        content = str([connection.execute(text(f"select * from {name}")).all() for name in tables])
    engine.dispose()
    for part in ("path-of-theirs", "in-the-address", "in-a-header", "in-the-secret"):
        assert part not in json.dumps(made) + events + listed + content + str(lines), part


async def test_a_schedule_keeps_it_sealed(server: RunningServer, http: httpx.AsyncClient) -> None:
    """Shown as `***`, kept when something else is changed, called for what it makes."""
    with receiver() as (url, calls):
        hook = {"url": url, "events": ["end"], "headers": {"X-Key": "of-the-schedule"}}
        sent = {"name": "s", "cron": "@yearly", "execution": {"message": "a", "webhook": hook}}
        made = await http.post("/v1/schedules", json=sent)
        assert made.status_code == 201, made.text
        shown = made.json()
        assert set(shown["execution"]["webhook"].values()) == {"***"}
        again = await http.patch(f"/v1/schedules/{shown['id']}", json={"execution": shown["execution"]})
        assert again.is_success, again.text
        fired = await http.post(f"/v1/schedules/{shown['id']}/fire")
        assert fired.status_code == 201, fired.text
        await server.ctx.store.request_cancel(fired.json()["metadata"]["id"], "somebody")
        await until(lambda: bool(calls))
        assert calls[0].headers["X-Key"] == "of-the-schedule"
