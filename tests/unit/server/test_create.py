"""Creating executions over HTTP: the two forms, what is refused, what is kept of secrets."""

import asyncio
import json
import sqlite3
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from tests.support.ports import free_port
from tests.unit.server.conftest import Worker, created, http_client

SHARES_A_SERVER = True

CONTRACT = {"api_version": "agentic.stigmer.ai/v1", "kind": "AgentExecution", "metadata": {"name": "My Run"}}


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code
    assert body["title"]
    assert body["detail"]
    assert body["next_step"]
    return body


@pytest.mark.promise("2.13")
async def test_a_message_alone_is_enough(http: httpx.AsyncClient) -> None:
    """A bare message is accepted: PENDING, the message first, a session of the built-in agent."""
    made = await created(http, message="do it")
    assert made["metadata"]["id"].startswith("aex-")
    assert made["metadata"]["id"] == made["metadata"]["id"].lower()
    assert made["status"]["phase"] == "EXECUTION_PENDING"
    assert made["status"]["messages"][0]["content"] == "do it"
    assert made["spec"]["message"] == "do it"
    session = (await http.get(f"/v1/sessions/{made['spec']['session_id']}")).json()
    instance = (await http.get(f"/v1/agent-instances/{session['spec']['agent_instance_id']}")).json()
    assert instance["spec"]["agent_id"] == made["spec"]["agent_id"]
    assert (await http.get("/v1/agents/agent-runner")).json()["metadata"]["id"] == made["spec"]["agent_id"]


async def test_the_built_in_agent_is_made_once(http: httpx.AsyncClient) -> None:
    """Twenty bare messages at once make one agent, one instance and twenty sessions."""
    made = await asyncio.gather(*(created(http) for _ in range(20)))
    assert len({m["spec"]["agent_id"] for m in made}) == 1
    assert len({m["spec"]["session_id"] for m in made}) == 20
    assert (await http.get("/v1/agents")).json()["total"] == 1
    assert (await http.get("/v1/agent-instances")).json()["total"] == 1


@pytest.mark.promise("4.16")
@pytest.mark.promise("4.23")
async def test_create_stores_and_publishes(
    http: httpx.AsyncClient, server: RunningServer, settings: Settings, redis_url: str
) -> None:
    """What is accepted has a row, a stamp and one message on its queue with ids and headers only."""
    made = await created(http, message="a private message")
    row = await server.ctx.store.get(made["metadata"]["id"])
    assert row is not None
    assert row.dispatched_at is not None
    async with Redis.from_url(redis_url) as redis:
        messages = await redis.lrange(settings.runner_queue, 0, -1)
    assert len(messages) == 1
    message = json.loads(messages[0])
    assert message["headers"]["execution_id"] == row.id
    assert message["headers"]["step"] == "ensure_thread"
    assert b"private" not in messages[0]


async def test_the_contract_form_in_either_spelling(http: httpx.AsyncClient) -> None:
    """An AgentExecution is accepted with original and camel-case names; answers have the original ones."""
    agent_id = (await created(http))["spec"]["agent_id"]
    snake = await http.post("/v1/executions", json={**CONTRACT, "spec": {"agent_id": agent_id, "message": "a"}})
    camel_body = {"apiVersion": CONTRACT["api_version"], "kind": "AgentExecution", "metadata": {"name": "My Run"}}
    camel = await http.post("/v1/executions", json={**camel_body, "spec": {"agentId": agent_id, "message": "a"}})
    for answer in (snake, camel):
        assert answer.status_code == 201, answer.text
        assert answer.json()["spec"]["agent_id"] == agent_id
        assert answer.json()["metadata"]["slug"] == "my-run"


@pytest.mark.promise("1.01")
async def test_every_broken_rule_is_named(http: httpx.AsyncClient) -> None:
    """A contract message without version and kind is refused, and the text names the values expected."""
    body = assert_problem(await http.post("/v1/executions", json={"metadata": {}, "spec": {}}), 400, "INVALID_ARGUMENT")
    assert "agentic.stigmer.ai/v1" in body["detail"]
    assert "AgentExecution" in body["detail"]
    assert {v["field"] for v in body["violations"]} == {"api_version", "kind", "spec.message"}


@pytest.mark.promise("4.24")
async def test_the_contract_form_needs_a_session_or_an_agent(http: httpx.AsyncClient) -> None:
    """Without session, agent and graph an AgentExecution is refused; a missing name is not the error."""
    answer = await http.post("/v1/executions", json={**CONTRACT, "metadata": {}, "spec": {"message": "a"}})
    body = assert_problem(answer, 400, "INVALID_ARGUMENT")
    assert "session_id or agent_id is required" in body["detail"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "message"),
        ({"message": ""}, "spec.message"),
        ({"message": 5}, "message"),
        ({"session_id": "ses-1", "answers": {}}, "answers"),
        ({"message": "a", "answers": {"q": 1}}, "alone"),
        ({"answers": {"q": 1}}, "session_id"),
        ({"message": "a", "massage": "b"}, "massage"),
        ({"message": "a", "env": {"A": 1}}, "env.A"),
        ({"message": "a", "env": {"A=B": "1"}}, "A=B"),
        ({"message": "a\0b"}, "NUL"),
        ({"message": "a", "timeouts": {"heartbeat_s": "3"}}, "heartbeat_s"),
        ({"message": "a", "timeouts": {"start_to_close_s": 1e9}}, "AGENT_RUNNER_MAX_RUN_S"),
        ({"message": "a", "timeouts": {"nonsense_s": 1}}, "nonsense_s"),
        ([], "object"),
    ],
)
async def test_what_is_wrong_is_named(http: httpx.AsyncClient, body: Any, says: str) -> None:
    """A wrong short form is a 400 whose text names what is wrong, and nothing is stored."""
    assert says in assert_problem(await http.post("/v1/executions", json=body), 400, "INVALID_ARGUMENT")["detail"]
    assert (await http.get("/v1/executions")).json()["entries"] == []


@pytest.mark.parametrize("raw", [b"", b"{", b'{"message": NaN}', b'{"message": "\\ud800"}', b"[" * 100_000, b"\xff"])
async def test_what_is_not_json_is_a_400(http: httpx.AsyncClient, raw: bytes) -> None:
    """A body that is not JSON text is the caller's mistake, never the server's."""
    assert_problem(await http.post("/v1/executions", content=raw), 400, "INVALID_ARGUMENT")


async def test_oversized_input_is_refused(http: httpx.AsyncClient) -> None:
    """A message above the limit is a 413 and leaves nothing; at the limit it is accepted."""
    assert (await created(http, message="x" * 10_000))["status"]["phase"] == "EXECUTION_PENDING"
    for size in (10_001, 3_000_000):
        answer = await http.post("/v1/executions", json={"message": "x" * size})
        assert_problem(answer, 413, "RESOURCE_EXHAUSTED")
    assert len((await http.get("/v1/executions")).json()["entries"]) == 1


async def test_unknown_sessions_and_agents_are_404(http: httpx.AsyncClient) -> None:
    """A session or agent that does not exist is a 404 that names it."""
    for given in ({"session_id": "ses-none"}, {"agent": "nobody"}):
        body = assert_problem(await http.post("/v1/executions", json={"message": "a", **given}), 404, "NOT_FOUND")
        assert next(iter(given.values())) in body["detail"]


async def test_a_session_names_its_agent(http: httpx.AsyncClient) -> None:
    """The second turn of a session runs with the session's agent and waits behind the first."""
    first = await created(http)
    second = await created(http, session_id=first["spec"]["session_id"])
    assert second["spec"]["session_id"] == first["spec"]["session_id"]
    assert second["spec"]["agent_id"] == first["spec"]["agent_id"]
    assert (await http.get("/v1/sessions")).json()["total"] == 1


async def test_the_default_instance_heals(http: httpx.AsyncClient) -> None:
    """An agent whose default instance is gone gets a new one with the next execution."""
    first = await created(http)
    agent = (await http.get("/v1/agents/agent-runner")).json()
    old = agent["status"]["default_instance_id"]
    assert (await http.delete(f"/v1/agent-instances/{old}")).status_code == 200
    second = await created(http, agent="agent-runner")
    assert second["spec"]["agent_id"] == first["spec"]["agent_id"]
    healed = (await http.get("/v1/agents/agent-runner")).json()["status"]["default_instance_id"]
    assert healed != old


async def test_the_same_key_is_the_same_execution(http: httpx.AsyncClient) -> None:
    """An idempotency key used again, also at the same time, gives the first execution and makes no session."""
    headers = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(
        *(http.post("/v1/executions", json={"message": "a"}, headers=headers) for _ in range(5))
    )
    assert [a.status_code for a in answers] == [201] * 5
    assert len({a.json()["metadata"]["id"] for a in answers}) == 1
    assert sum("idempotent-replayed" in a.headers for a in answers) == 4
    assert (await http.get("/v1/sessions")).json()["total"] == 1


OTHERS: list[dict[str, Any]] = [
    {"message": "b"},
    {"message": "a", "model": "other"},
    {"message": "a", "timeouts": {"heartbeat_s": 20}},
    {"message": "a", "env": {"NAME": "value"}},
    {"input": {"messages": [{"role": "user", "content": "a"}]}},
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
async def test_the_same_key_with_another_request_is_refused(http: httpx.AsyncClient, other: dict[str, Any]) -> None:
    """409 that names the execution of the first; nothing is made. The first request is still answered as before."""
    headers = {"Idempotency-Key": "once"}
    first = await http.post("/v1/executions", json={"message": "a"}, headers=headers)
    problem = assert_problem(await http.post("/v1/executions", json=other, headers=headers), 409, "ALREADY_EXISTS")
    assert first.json()["metadata"]["id"] in problem["detail"]
    again = await http.post("/v1/executions", json={"message": "a"}, headers=headers)
    assert again.json()["metadata"]["id"] == first.json()["metadata"]["id"]
    assert (await http.get("/v1/executions")).json()["total"] == 1
    assert (await http.get("/v1/sessions")).json()["total"] == 1
    assert "request" not in again.json()


async def test_where_a_picture_stands_is_asked_for_too(http: httpx.AsyncClient) -> None:
    """The same words and pictures in another order are another request; the same message again is the same."""
    words, others = [{"type": "text", "text": text} for text in ("this one", "not that")]
    pictures = [{"type": "image_url", "image_url": {"url": f"https://pictures.example/{n}.png"}} for n in (1, 2)]
    headers = {"Idempotency-Key": "once"}
    ids = []
    for order in ([words, pictures[0], others, pictures[1]], [pictures[0], words, pictures[1], others]) * 2:
        answer = await http.post("/v1/executions", json={"message": order}, headers=headers)
        ids.append(answer.json().get("metadata", {}).get("id") or answer.status_code)
    assert ids == [ids[0], 409, ids[0], 409]


async def test_another_value_of_a_secret_is_the_same_request(http: httpx.AsyncClient, settings: Settings) -> None:
    """Not even a digest of a secret is kept, so it cannot tell."""
    headers = {"Idempotency-Key": "once"}
    ids = {
        (await http.post("/v1/executions", json={"message": "a", "env": {"PIN": pin}}, headers=headers)).json()[
            "metadata"
        ]["id"]
        for pin in ("1234", "4321")
    }
    assert len(ids) == 1


async def test_secrets_are_sealed(http: httpx.AsyncClient, server: RunningServer, settings: Settings) -> None:
    """A secret value is in no answer and in no column; the run gets it."""
    made = await created(http, env={"TOKEN": "hunter2-secret"})
    assert made["spec"]["runtime_env"]["TOKEN"] == {"value": "***", "is_secret": True}
    row = await server.ctx.store.get(made["metadata"]["id"])
    assert row is not None
    assert server.ctx.sealing.open_env(row.sealed_env)["TOKEN"].value == "hunter2-secret"
    dumped = "\n".join(sqlite3.connect(settings.database_url.removeprefix("sqlite:///")).iterdump())
    assert row.id in dumped
    assert "hunter2" not in dumped


async def test_timeouts_of_one_execution(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Timeouts given with an execution, by either form, are those of its row."""
    short = await created(http, timeouts={"start_to_close_s": 7, "heartbeat_s": 2})
    annotations = {"agent-runner/timeouts": '{"start_to_close_s": 7, "heartbeat_s": 2}', "agent-runner/graph": "g"}
    spec = {"message": "a"}
    contract = await http.post(
        "/v1/executions", json={**CONTRACT, "metadata": {"annotations": annotations}, "spec": spec}
    )
    assert contract.status_code == 201, contract.text
    for made in (short, contract.json()):
        row = await server.ctx.store.get(made["metadata"]["id"])
        assert row is not None
        assert (row.timeouts.start_to_close_s, row.timeouts.heartbeat_s) == (7, 2)
    assert contract.json()["metadata"]["annotations"]["agent-runner/graph"] == "g"


async def test_input_instead_of_a_message(http: httpx.AsyncClient, worker: Worker) -> None:
    """A graph's JSON input is kept for the run, and its final state is `output`."""
    answer = await http.post("/v1/executions", json={"graph": "adder", "input": {"a": 1}})
    made = answer.json()
    assert json.loads(made["spec"]["message"]) == {"a": 1}
    claimed = await worker.claim(made["metadata"]["id"])
    await worker.settle(claimed, number=0, output={"sum": 3})
    assert (await http.get(f"/v1/executions/{made['metadata']['id']}")).json()["output"] == {"sum": 3}


@pytest.mark.promise("4.25")
async def test_a_broker_that_is_down_leaves_nothing(own_settings: Settings) -> None:
    """Without a broker create answers 503 E501 within its 5 s, and neither row nor session is left."""
    down = own_settings.model_copy(update={"broker_url": f"redis://127.0.0.1:{free_port()}/0"})
    async with running_server(down) as server, http_client(server) as http:
        body = assert_problem(await http.post("/v1/executions", json={"message": "a"}), 503, "E501")
        assert "broker" in body["detail"]
        assert (await http.get("/v1/executions")).json()["entries"] == []
        assert (await http.get("/v1/sessions")).json()["total"] == 0
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["missing"] == ["broker"]


async def test_wait_answers_at_the_end(http: httpx.AsyncClient, server: RunningServer, worker: Worker) -> None:
    """`?wait=` answers when the execution ends, and at the latest after that time."""
    early = await http.post("/v1/executions?wait=0.2", json={"message": "a"})
    assert early.json()["status"]["phase"] == "EXECUTION_PENDING"
    pending = asyncio.create_task(http.post("/v1/executions?wait=30", json={"message": "b"}))
    id = await newest(http, "b")
    await worker.settle(await worker.claim(id), number=0)
    assert (await pending).json()["status"]["phase"] == "EXECUTION_COMPLETED"


async def newest(http: httpx.AsyncClient, message: str) -> str:
    """The id of the execution with this message, as soon as there is one."""
    async with asyncio.timeout(20):
        while True:
            for entry in (await http.get("/v1/executions")).json()["entries"]:
                if entry["spec"]["message"] == message:
                    return str(entry["metadata"]["id"])
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("form", ["short", "contract"])
async def test_how_long_busy_workers_are_waited_for(http: httpx.AsyncClient, server: RunningServer, form: str) -> None:
    """Given as the other timeouts, in both forms; the total follows it."""
    given = {"busy_to_start_s": 700.0}
    body: dict[str, Any] = {"message": "hello", "timeouts": given}
    if form == "contract":
        made = (await http.post("/v1/executions", json={"message": "hello"})).json()
        annotations = {"agent-runner/timeouts": json.dumps(given)}
        body = {name: made[name] for name in ("api_version", "kind")}
        body |= {"metadata": {"name": "busy", "annotations": annotations}}
        body |= {"spec": {"agent_id": made["spec"]["agent_id"], "message": "hello"}}
    answer = await http.post("/v1/executions", json=body)
    assert answer.status_code == 201, answer.text
    kept = await server.ctx.store.get(answer.json()["metadata"]["id"])
    assert kept is not None
    assert (kept.timeouts.schedule_to_start_s, kept.timeouts.start_within_s) == (60.0, 700.0)
    assert kept.timeouts.schedule_to_close_s > 1400
