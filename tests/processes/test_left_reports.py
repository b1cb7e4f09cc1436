"""A supervisor that HTTP refuses, or does not reach, leaves its report in Redis; a server takes it from there."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from agent_runner.clients.backend.exit_reports import KEPT, leave, take
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

BROKEN = "import sys; sys.stderr.write('STARTUP FAILURE: Import Error\\nno such module\\n'); sys.exit(1)"
RUN = """
import sys
from agent_runner.app.supervisor import supervise
from agent_runner.clients.backend.exit_reports import leave
url, redis_url, *argv = sys.argv[1:]
detour = lambda report: leave(redis_url, "q", report)
sys.exit(supervise("worker", argv, queue="q", http_url=url, api_key="wrong", detour=detour))
"""


@pytest.fixture
def refusing() -> Iterator[str]:
    """A server whose answer is always 401."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def away() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer.running(tmp_path, socket=True, durable=True) as server:
        yield server


@pytest.mark.parametrize("http_side", ["refusing", "away"])
async def test_what_http_does_not_take_waits_in_redis(
    http_side: str, redis_server: RedisServer, request: pytest.FixtureRequest
) -> None:
    """With the banner, for the queue's servers."""
    argv = [sys.executable, "-c", RUN, request.getfixturevalue(http_side), redis_server.url]
    with (
        subprocess.Popen([*argv, sys.executable, "-c", BROKEN], stderr=subprocess.DEVNULL) as supervisor,
        redis_server.client() as look,
    ):
        eventually(lambda: look.llen("agent_runner:exit_reports:q"), what="the report in Redis")
        supervisor.terminate()
    async with Redis.from_url(redis_server.url) as client:
        first, *_ = await take(client, "q")
    assert first["startup"] is True
    assert first["queue"] == "q"
    assert first["text"] == "STARTUP FAILURE: Import Error\nno such module\n"


async def test_a_report_is_taken_once_and_only_by_its_queue(redis_server: RedisServer) -> None:
    """Oldest first, at most the newest hundred; what is no report is left out; nothing stays for ever."""
    for number in range(KEPT + 5):
        leave(redis_server.url, "q", json.dumps({"incarnation": str(number)}).encode())
    leave(redis_server.url, "q", b"not json")
    leave(redis_server.url, "q", b"[]")
    with redis_server.client() as look:
        assert 0 < int(look.ttl("agent_runner:exit_reports:q")) <= 600
    async with Redis.from_url(redis_server.url) as client:
        assert await take(client, "other") == []
        taken: list[dict[str, Any]] = await take(client, "q")
        assert [report["incarnation"] for report in taken] == [str(n) for n in range(7, KEPT + 5)]
        assert await take(client, "q") == []
