"""HTTP connections within limits: slow and endless senders are told so and cut off, and nobody else notices."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import KEY, http_client, settings_of

SHARES_A_SERVER = True
HEAD = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\n".encode()
WITHIN_S = 20.0


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Settings:
    limits = {"http_head_s": 1.0, "http_body_s": 1.0, "max_head_bytes": 4096}
    return settings_of(tmp_path_factory.mktemp("strict"), redis_url).model_copy(update=limits)


@asynccontextmanager
async def connected(server: RunningServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def told(reader: asyncio.StreamReader) -> tuple[int, dict[str, object]]:
    """Status and problem of what is read until the server closes the connection."""
    async with asyncio.timeout(WITHIN_S):
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert answer.count(b"HTTP/1.1") == 1, answer
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("sent", "status", "says"),
    [
        (b"", 408, "the head"),
        (b"GET /v1/executions HTTP/1.1\r\nHost", 408, "the head"),
        (b"POST /v1/executions HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n{", 408, "the body"),
        (b"POST /v1/executions HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 408, "the body"),
        (b"GET /healthz HTTP/1.1\r\nA: " + b"a" * 5000, 431, "AGENT_RUNNER_MAX_HEAD_BYTES"),
        (b"GET /" + b"a" * 5000, 431, "AGENT_RUNNER_MAX_HEAD_BYTES"),
    ],
)
async def test_who_sends_too_slowly_or_too_much_is_cut_off(
    server: RunningServer, sent: bytes, status: int, says: str
) -> None:
    """Nothing, half a head, half a body, a head without end: told as a problem, then the connection is closed."""
    async with connected(server) as (reader, writer):
        writer.write(sent)
        found, problem = await told(reader)
    assert found == status, problem
    assert says in str(problem["detail"])
    assert problem["next_step"]


async def test_one_byte_at_a_time_does_not_help(server: RunningServer) -> None:
    """The time is that of the whole head: bytes that trickle in do not prolong it."""
    async with connected(server) as (reader, writer):
        asked = asyncio.create_task(told(reader))
        writer.write(b"GET /healthz HTTP/1.1\r\nA: ")
        while not asked.done():
            writer.write(b"a")
            await asyncio.sleep(0.02)
        assert (await asked)[0] == 408


async def test_a_connection_that_is_kept_is_not_cut_off_while_it_waits(server: RunningServer) -> None:
    """The clock runs from the first byte of each request to its end, and neither between requests nor in an answer."""
    async with http_client(server) as http:
        id = (await http.post("/v1/executions", json={"message": "m"})).json()["metadata"]["id"]
        async with http.stream("GET", f"/v1/executions/{id}/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines)
            await asyncio.sleep(1.5)  # longer than both limits, which is the point
            assert (await http.post(f"/v1/executions/{id}/cancel")).status_code == 202
            assert any([line.startswith("event: end") async for line in lines])
        for _ in range(2):
            await asyncio.sleep(1.5)
            assert (await http.get("/healthz")).status_code == 200


async def test_more_connections_than_the_limit_are_told(own_settings: Settings) -> None:
    """503 and closed; when one of the others is gone there is room again."""
    async with (
        running_server(own_settings.model_copy(update={"max_http_connections": 5})) as server,
        AsyncExitStack() as kept,
    ):
        for _ in range(4):
            await kept.enter_async_context(connected(server))
        async with connected(server):
            await until(lambda: len(server.http.server_state.connections) == 5)
            async with connected(server) as (reader, _):
                status, problem = await told(reader)
            assert (status, problem["code"]) == (503, "UNAVAILABLE")
            assert "AGENT_RUNNER_MAX_HTTP_CONNECTIONS" in str(problem["detail"])
        await until(lambda: len(server.http.server_state.connections) < 5)
        async with http_client(server) as http:
            assert (await http.get("/healthz")).status_code == 200


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not holds():
            await asyncio.sleep(0.01)
