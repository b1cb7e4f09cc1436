"""A real nginx in front, with its default settings: it closes what is silent for 60 s, and holds back small answers."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.listing import change_feed
from agent_runner.app.server.log_feed import follow
from agent_runner.clients.settings.settings import Settings
from tests.integration.stack import Stack
from tests.support.databases import copied
from tests.support.nginx import NEEDS_NGINX, nginx
from tests.support.redis_server import RedisServer
from tests.unit.server.conftest import Worker, created, http_client

pytestmark = NEEDS_NGINX
READ_S = 60.0
"""nginx's own default of `proxy_read_timeout`."""
SCALED_S = 8
QUIET_90 = "AGENT_RUNNER_TEST_QUIET_90"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with RedisServer.running(tmp_path) as server:
        yield server.url


@pytest.fixture
async def server(tmp_path: Path, redis: str) -> AsyncIterator[RunningServer]:
    copied(tmp_path / "agent-runner.db")
    settings = Settings(
        data_dir=tmp_path,
        broker_url=redis,
        redis_url=redis,
        http_port=0,
        grpc_port=0,
        api_key=SecretStr("test-key"),
        secret_key=SecretStr("a secret of the operator"),
    )
    async with running_server(settings) as running:
        yield running


async def lines_of(answer: httpx.Response, told: list[str]) -> None:
    async for line in answer.aiter_lines():
        told.append(line)  # noqa: PERF401 - others look at it meanwhile


async def until(told: list[str], wanted: str, times: int = 1) -> None:
    async with asyncio.timeout(60):
        while sum(wanted in line for line in told) < times:
            await asyncio.sleep(0.02)


async def test_a_quiet_stream_outlasts_nginx(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything scaled alike, a ping at a quarter of nginx's limit: both streams live on beyond that limit, and what
    comes then comes at once. Without pings nginx closes them: that is what they are for."""
    assert follow.QUIET_S == change_feed.QUIET_S == READ_S / 4
    for module in (follow, change_feed):
        monkeypatch.setattr(module, "QUIET_S", SCALED_S / 4)
    with nginx(tmp_path / "nginx", server.http_port, f"proxy_read_timeout {SCALED_S}s;") as port:
        address = f"http://127.0.0.1:{port}"
        async with http_client(server) as direct, http_client(server) as http:
            http.base_url = httpx.URL(address)
            id = (await created(direct))["metadata"]["id"]
            claimed = await Worker(server).claim(id)
            events: list[str] = []
            changes: list[str] = []
            async with (
                http.stream("GET", f"/v1/executions/{id}/events") as one,
                http.stream("GET", "/v1/executions/changes") as other,
            ):
                reading = [asyncio.create_task(lines_of(*given)) for given in ((one, events), (other, changes))]
                began = time.monotonic()
                await asyncio.gather(until(events, ": ping", 6), until(changes, ": ping", 6))
                assert time.monotonic() - began > SCALED_S, "longer than nginx waits for silence"
                assert not [task for task in reading if task.done()]
                await Worker(server).say(claimed, "after the silence", number=0)
                await until(events, "after the silence")
                await Worker(server).settle(claimed, number=1)
                await asyncio.wait_for(reading[0], 20)
                reading[1].cancel()
            assert "event: end" in events
            monkeypatch.setattr(follow, "QUIET_S", READ_S)
            silent = (await created(direct))["metadata"]["id"]
            await Worker(server).claim(silent)
            with pytest.raises(httpx.RemoteProtocolError):
                async with asyncio.timeout(60), http.stream("GET", f"/v1/executions/{silent}/events") as cut:
                    await lines_of(cut, [])


@pytest.mark.skipif(QUIET_90 not in os.environ, reason=f"{QUIET_90}=1: waits for 95 s")
@pytest.mark.timeout(300)
def test_a_run_that_is_quiet_for_90_s_keeps_its_stream(tmp_path: Path) -> None:
    """Nothing scaled: a real worker, a command that says nothing for 95 s, nginx as Debian installs it."""
    with Stack.open(tmp_path) as stack, nginx(tmp_path / "nginx", stack.http_port) as port:
        stack.start_worker()
        id = stack.create("$ sleep 95; echo awake", timeouts={"start_to_close_s": 240})["metadata"]["id"]
        began, pings, rows, longest, last = time.monotonic(), 0, [], 0.0, time.monotonic()
        address = f"http://127.0.0.1:{port}/v1/executions/{id}/events"
        with httpx.stream("GET", address, headers=dict(stack.http.headers), timeout=50, trust_env=False) as answer:
            for line in answer.iter_lines():
                pings += line == ": ping"
                if line.startswith("data: "):
                    now = time.monotonic()
                    longest, last = max(longest, now - last), now
                    rows.append(json.loads(line.removeprefix("data: ")))
        print(
            f"quiet for {longest:.1f} s with {pings} pings, {time.monotonic() - began:.1f} s in all, {len(rows)} events"
        )
        assert longest > 90
        assert pings >= 5
        assert rows[-1]["phase"] == "EXECUTION_COMPLETED"
        assert any("awake" in str(row) for row in rows)
