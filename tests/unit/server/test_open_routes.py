"""What is open and what needs the key; health, metrics, the page; reports of exits and failures."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.http.document.schemas import REDRIVE_FORM
from agent_runner.clients.settings.settings import Settings
from tests.support.plain_http import NO_AUTHORITIES
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


@pytest.mark.promise("1.17")
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", "Basic test-key", "test-key", "Bearer test-keyx"])
async def test_v1_needs_the_key(server: RunningServer, header: str | None) -> None:
    """Everything under /v1, known or not, is a 401 without the right key."""
    url = f"http://127.0.0.1:{server.http_port}"
    headers = {} if header is None else {"Authorization": header}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, verify=NO_AUTHORITIES) as client:
        for path in ("/v1/executions", "/v1/agents", "/v1/workers", "/v1/nothing", "/v1"):
            answer = await client.get(path)
            assert_problem(answer, 401, "UNAUTHENTICATED")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert_problem(await client.post("/v1/executions", json={"message": "a"}), 401, "UNAUTHENTICATED")


async def test_what_holds_no_data_is_open(server: RunningServer) -> None:
    """Page, docs, description, health and metrics need no key."""
    async with http_client(server, key="wrong") as client:
        for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200, path


async def test_a_setting_closes_the_metrics(own_settings: Settings) -> None:
    """Without a key 401, with a runner's 403; a key that may read scrapes as before."""
    async with running_server(own_settings.model_copy(update={"metrics_open": False})) as server:
        async with http_client(server, key="wrong") as stranger:
            assert_problem(await stranger.get("/metrics"), 401, "UNAUTHENTICATED")
            assert (await stranger.get("/healthz")).status_code == 200
        async with http_client(server) as operator:
            made = [
                (await operator.post("/v1/keys", json={"name": scope, "scopes": [scope]})).json()["key"]
                for scope in ("read", "runner")
            ]
        async with http_client(server, key=made[0]) as reader, http_client(server, key=made[1]) as runner:
            assert "agent_runner_store_up 1.0" in (await reader.get("/metrics")).text
            assert_problem(await runner.get("/metrics"), 403, "PERMISSION_DENIED")


async def test_the_page_redrives_from_where_the_server_can(http: httpx.AsyncClient) -> None:
    """It has a button for each place where a redrive may begin."""
    page = (await http.get("/")).text
    offered = re.findall(r"""["'`](\w+)["'`],["'`]Redrive """, page)
    assert offered == [place for place in REDRIVE_FORM["properties"]["from"]["enum"] if place]


async def test_the_page_needs_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    """The page is one file without external assets, and its policy allows none."""
    page = await http.get("/")
    # The names of SVG and MathML, and an error text of a library: nothing is loaded from there, as the policy says.
    assert set(re.findall(r"https?://([\w.-]+)", page.text)) <= {"www.w3.org", "github.com"}
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


async def test_unknown_routes_and_methods_are_problems(http: httpx.AsyncClient) -> None:
    """404 and 405 of the router are problem+json too."""
    assert_problem(await http.get("/v1/nothing"), 404, "NOT_FOUND")
    assert_problem(await http.patch("/v1/executions"), 405, "UNIMPLEMENTED")


async def test_the_description_lists_the_routes(http: httpx.AsyncClient) -> None:
    """/openapi.json names every route of the interface and how to authorize."""
    described = (await http.get("/openapi.json")).json()
    paths = set(described["paths"])
    resources = {f"/v1/{name}" for name in ("agents", "agent-instances", "sessions", "skills", "environments")}
    one = "/v1/executions/{execution_id}"
    assert resources | {"/v1/executions", one, f"{one}/cancel", f"{one}/redrive", f"{one}/events"} <= paths
    assert "HTTPBearer" in described["components"]["securitySchemes"]


async def test_metrics_have_our_prefix(own_http: httpx.AsyncClient) -> None:
    """All names begin with agent_runner_; open executions and answered requests are counted by route, not by id."""
    made = await created(own_http)
    await own_http.get(f"/v1/executions/{made['metadata']['id']}")
    text = (await own_http.get("/metrics")).text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert all(name.startswith("agent_runner_") for name in names)
    assert 'agent_runner_executions_open{phase="PENDING"} 1.0' in text
    assert "agent_runner_executions_accepted_total 1.0" in text
    assert 'route="/v1/executions/{execution_id}"' in text
    assert made["metadata"]["id"] not in text


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"signal": 9, "text": ""}, "signal 9: usually out of memory"),
        ({"signal": 6, "text": "it showed no sign of life for 40 s"}, ": it showed no sign of life for 40 s [E103"),
    ],
)
async def test_a_reported_exit_ends_its_runs(
    http: httpx.AsyncClient, worker: Worker, seen: dict[str, Any], said: str
) -> None:
    """A supervisor's report ends the runs of that process at once: E103 with the signal, or why it sent one itself."""
    id = (await created(http))["metadata"]["id"]
    claimed = await worker.claim(id, "w-dead")
    await worker.say(claimed, "kept", number=0)
    report = {"incarnation": "w-dead", "role": "worker", "queue": "q", "exit_code": None, **seen}
    answer = await http.post("/v1/runner/exits", json={**report, "startup": False})
    assert answer.status_code == 202
    assert answer.json() == {"ended": [id]}
    status = (await http.get(f"/v1/executions/{id}")).json()["status"]
    assert status["phase"] == "EXECUTION_FAILED"
    assert "[E103 WORKER_LOST]" in status["error"]
    assert said in status["error"]
    assert [m["content"] for m in status["messages"]][1] == "kept"


async def test_a_failed_start_is_kept_for_its_queue(http: httpx.AsyncClient, server: RunningServer) -> None:
    """The banner of a worker that could not start is shown with the workers until one starts."""
    queue = server.ctx.settings.runner_queue
    report = {"incarnation": "i", "role": "worker", "queue": queue, "exit_code": 1, "text": "STARTUP FAILURE: x"}
    assert (await http.post("/v1/runner/exits", json={**report, "startup": True})).status_code == 202
    shown = (await http.get("/v1/workers")).json()
    assert shown["startup_failures"][queue]["text"] == "STARTUP FAILURE: x"
    assert_problem(await http.post("/v1/runner/exits", json={"signal": "nine"}), 400, "INVALID_ARGUMENT")


async def test_workers_are_listed_with_their_state(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Who is here, who lost the connection and who left can be told apart."""
    for incarnation in ("here", "cut", "left"):
        await server.ctx.store.hello(
            incarnation=incarnation, queue="q", role="worker", hostname="h", pid=1, slots=5, name="n", version="1"
        )
    await server.ctx.store.disconnected("cut", 60)
    await server.ctx.store.goodbye("left")
    shown = (await http.get("/v1/workers")).json()["workers"]
    assert {w["incarnation"]: w["state"] for w in shown} == {"here": "online", "cut": "disconnected", "left": "gone"}
    text = (await http.get("/metrics")).text
    assert 'agent_runner_worker_slots{queue="q"} 5.0' in text


async def test_a_failure_ends_what_is_open(http: httpx.AsyncClient) -> None:
    """A worker's report ends an open execution with its code, and only once."""
    id = (await created(http))["metadata"]["id"]
    report = {"execution_id": id, "code": "E202", "facts": {"cause": "not JSON"}}
    assert (await http.post("/v1/runner/failures", json=report)).json() == {
        "applied": True,
        "phase": "EXECUTION_FAILED",
        "code": "E202",
    }
    assert (await http.post("/v1/runner/failures", json={**report, "code": "E301"})).json()["code"] == "E202"
    for wrong in ({**report, "code": "E999"}, {**report, "step": "nonsense"}, {"code": "E202"}):
        assert_problem(await http.post("/v1/runner/failures", json=wrong), 400, "INVALID_ARGUMENT")
    assert_problem(
        await http.post("/v1/runner/failures", json={**report, "execution_id": "aex-none"}), 404, "NOT_FOUND"
    )


async def test_a_failure_after_the_grace_leaves_room(http: httpx.AsyncClient, server: RunningServer) -> None:
    """With after_grace a truer reason that arrives first stays; without one the failure is applied."""
    truer, other = [(await created(http))["metadata"]["id"] for _ in range(2)]
    for id in (other, truer):
        report = {"execution_id": id, "code": "E302", "facts": {"original_error": "x"}, "after_grace": True}
        assert (await http.post("/v1/runner/failures", json=report)).json()["applied"] is False
    assert await server.ctx.store.request_cancel(truer, "nobody")  # within the grace, which is short here
    async with asyncio.timeout(20):
        while (await http.get(f"/v1/executions/{other}")).json()["status"]["phase"] == "EXECUTION_PENDING":
            await asyncio.sleep(0.02)
    assert "[E302" in (await http.get(f"/v1/executions/{other}")).json()["status"]["error"]
    assert "[E401" in (await http.get(f"/v1/executions/{truer}")).json()["status"]["error"]


async def test_a_report_for_another_step_does_nothing(http: httpx.AsyncClient) -> None:
    """A failure of one task's message applies only while that task's step is open."""
    id = (await created(http))["metadata"]["id"]
    report = {"execution_id": id, "code": "E302", "step": "execute"}
    assert (await http.post("/v1/runner/failures", json=report)).json()["applied"] is False
    assert (await http.get(f"/v1/executions/{id}")).json()["status"]["phase"] == "EXECUTION_PENDING"


async def test_a_bad_copy_ends_no_started_run(http: httpx.AsyncClient, server: RunningServer) -> None:
    """A message that cannot be decoded ends what waits for it, and not what another copy has started."""
    id = (await created(http))["metadata"]["id"]
    assert (await server.ctx.store.begin(id, "b1", "w1")).granted
    report = {"execution_id": id, "code": "E202", "step": "ensure_thread"}
    assert (await http.post("/v1/runner/failures", json=report)).json()["applied"] is False
    lost = {**report, "code": "E103"}
    assert (await http.post("/v1/runner/failures", json=lost)).json()["applied"] is True
