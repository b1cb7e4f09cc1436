"""Limits of the HTTP and gRPC edges: rate per key, size of a request; origins of web pages; compressed answers."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2, query_pb2_grpc
from agent_runner.app.server.access.rate_limit import RateLimit
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from agent_runner.v1 import runner_pb2, runner_pb2_grpc
from tests.unit.server.conftest import AUTHORIZED, created, http_client, sse
from tests.unit.server.identity import agent, bearer, key
from tests.unit.server.test_create import assert_problem

PAGE = "https://page.example"
JSON = {"Content-Type": "application/json"}

SHARES_A_SERVER = True


def changed(settings: Settings, **values: Any) -> Settings:
    return settings.model_copy(update=values)


def test_the_bucket_refills() -> None:
    """As many calls at once as the rate, then one each time that a token has come; each key has its own bucket."""
    now = 100.0
    limit = RateLimit(4, lambda: now)
    assert [limit.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert limit.take("b") == 0
    now += 0.25
    assert [limit.take("a"), limit.take("a")] == [0, 0.25]
    now += 1000
    assert [limit.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.25]
    slow = RateLimit(0.5, lambda: now)
    assert [slow.take("a"), slow.take("a")] == [0, 2]
    assert not any(RateLimit(0).take("a") for _ in range(1000))


async def test_the_rate_limit_is_per_key(own_settings: Settings) -> None:
    """Beyond the rate a key gets 429 with Retry-After, over gRPC RESOURCE_EXHAUSTED; other keys and runners do not."""
    async with (
        running_server(changed(own_settings, rate_limit_per_s=0.01)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        http_client(server) as http,
    ):
        other = await key(server, "read")
        answer = await http.get("/v1/executions")
        assert_problem(answer, 429, "RESOURCE_EXHAUSTED")
        assert 90 <= int(answer.headers["retry-after"]) <= 100
        query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
        call = query.list(io_pb2.ListAgentExecutionsRequest(), metadata=AUTHORIZED)
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 90 <= int(str(dict(await call.trailing_metadata())["retry-after"])) <= 100
        await query.list(io_pb2.ListAgentExecutionsRequest(), metadata=bearer(other))
        async with http_client(server, key=other) as second:
            assert (await second.get("/v1/executions")).status_code == 429
        runner: Any = runner_pb2_grpc.RunnerStub(channel)
        for _ in range(5):
            request = runner_pb2.ClaimRequest(execution_id="aex-none", run_token=b"t" * 16)
            claim = await runner.claim(request, metadata=AUTHORIZED)
            assert not claim.granted
            exits = await http.post("/v1/runner/exits", json={"incarnation": "none", "exit_code": 0})
            assert exits.status_code == 202
        assert (await http.get("/healthz")).status_code == 200


async def test_without_a_setting_there_is_no_rate_limit(http: httpx.AsyncClient) -> None:
    """By default two hundred calls at once are all answered."""
    answers = await asyncio.gather(*(http.get("/v1/keys") for _ in range(200)))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_that_is_too_large_is_a_413(own_settings: Settings, chunked: bool) -> None:
    """On every route, with and without a declared length; one at the limit is read; without a key it is a 401."""
    limit = 20_000

    def body(size: int) -> bytes | AsyncIterator[bytes]:
        return pieces(size) if chunked else b" " * size

    async with (
        running_server(changed(own_settings, max_request_bytes=limit)) as server,
        http_client(server) as http,
        http_client(server, key="wrong") as stranger,
    ):
        for path in ("/v1/executions", "/v1/agents", "/v1/runner/failures", "/v1/keys"):
            for size in (limit + 1, 3 * limit):
                answer = await http.post(path, content=body(size), headers=JSON)
                assert "AGENT_RUNNER_MAX_REQUEST_BYTES" in assert_problem(answer, 413, "RESOURCE_EXHAUSTED")["detail"]
            answer = await http.post(path, content=body(limit), headers=JSON)
            assert_problem(answer, 400, "INVALID_ARGUMENT")
            assert_problem(await stranger.post(path, content=body(3 * limit)), 401, "UNAUTHENTICATED")
        assert (await http.get("/v1/executions")).status_code == 200


async def pieces(size: int) -> AsyncIterator[bytes]:
    for at in range(0, size, 1000):
        yield b" " * min(1000, size - at)


async def preflight(http: httpx.AsyncClient, origin: str) -> httpx.Response:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    return await http.options("/v1/executions", headers={"Origin": origin, **asked})


async def test_no_web_page_may_call_by_default(http: httpx.AsyncClient) -> None:
    """Without the setting no answer allows any origin."""
    for answer in (await preflight(http, PAGE), await http.get("/v1/executions", headers={"Origin": PAGE})):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_pages_of_the_origins_that_are_set_may_call(own_settings: Settings) -> None:
    """They may ask with the key's header and read answers and refusals; other origins may not."""
    origins = f"{PAGE}/, https://other.example"
    async with (
        running_server(changed(own_settings, cors_origins=origins)) as server,
        http_client(server) as http,
        http_client(server, key="wrong") as stranger,
    ):
        allowed = await preflight(stranger, PAGE)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in allowed.headers
        for client, status in ((http, 200), (stranger, 401)):
            answer = await client.get("/v1/executions", headers={"Origin": PAGE})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "Retry-After" in answer.headers["access-control-expose-headers"]
        for refused in (
            await preflight(http, "https://evil.example"),
            await http.get("/v1/executions", headers={"Origin": "https://evil.example"}),
        ):
            assert "access-control-allow-origin" not in refused.headers


async def test_json_is_compressed_and_streams_are_not(http: httpx.AsyncClient, server: RunningServer) -> None:
    """A large JSON answer is gzip for who accepts it; an event stream and a small answer never are."""
    for number in range(5):
        await http.post("/v1/agents", json=agent(f"Agent {number}"))
    id = (await created(http, message="m" * 5000))["metadata"]["id"]
    await http.post(f"/v1/executions/{id}/cancel")
    async with http.stream("GET", "/v1/agents", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    plain = await http.get("/v1/agents", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 2
    events = await http.get(f"/v1/executions/{id}/events", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in events.headers
    assert sse(events.text)[-1][0] == "end"
    small = await http.get("/healthz", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers
