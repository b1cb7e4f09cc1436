"""A Redis that is full (noeviction) before a process starts there."""

from pathlib import Path

import pytest

from agent_runner.app.cli.checks import check_broker
from agent_runner.clients.settings.settings import Settings
from tests.integration.stack import Stack
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

COMPLETED = "EXECUTION_COMPLETED"
FULL = "is full: maxmemory is used up"


@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_a_worker_starts_on_a_full_redis(tmp_path: Path, pool: str) -> None:
    """It says so at once, takes what is queued, and everything goes on by itself when there is room."""
    folder = tmp_path / "own"
    folder.mkdir()
    with RedisServer.running(folder) as server, server.client() as admin:
        urls = {"AGENT_RUNNER_BROKER_URL": server.url, "AGENT_RUNNER_REDIS_URL": server.url}
        with Stack.open(tmp_path / "stack", **urls, AGENT_RUNNER_POOL=pool) as stack:
            queued = stack.create("$ echo hello")["metadata"]["id"]
            eventually(lambda: admin.llen(stack.runner_queue), what="the message")
            # As if nobody had ever listened: the worker has to write that the queue is there.
            admin.delete(f"_kombu.binding.{stack.runner_queue}", f"_kombu.binding_permanent.{stack.runner_queue}")
            admin.config_set("maxmemory", 1)
            worker = stack.start_worker()
            child = worker.child().pid
            said = worker.output()
            assert FULL in said
            assert f"queue {stack.runner_queue} is there" in said
            eventually(lambda: not admin.llen(stack.runner_queue), what="the message to be taken")
            found = check_broker(Settings(broker_url=server.url))
            assert (found.up, "full" in found.why) == (False, True)
            admin.config_set("maxmemory", 0)
            assert stack.wait_for(queued, within_s=60)["status"]["phase"] == COMPLETED
            later = stack.create("$ echo later")["metadata"]["id"]
            assert stack.wait_for(later, within_s=60)["status"]["phase"] == COMPLETED
            eventually(lambda: admin.exists(f"_kombu.binding.{stack.runner_queue}"), what="the binding")
            eventually(lambda: not admin.hlen("unacked"), what="every ack")
            assert worker.child().pid == child
            assert "STARTUP FAILURE" not in worker.output()
            assert "Traceback" not in worker.output(), worker.output()[-4000:]


@pytest.mark.parametrize("role", ["server", "orchestrator"])
def test_every_process_says_that_redis_is_full(tmp_path: Path, role: str) -> None:
    """In its log when it starts, with what to do; it stays up, takes nothing in, and works as soon as there is room."""
    folder = tmp_path / "own"
    folder.mkdir()
    with RedisServer.running(folder) as server, server.client() as admin:
        admin.config_set("maxmemory", 1)
        urls = {"AGENT_RUNNER_BROKER_URL": server.url, "AGENT_RUNNER_REDIS_URL": server.url}
        with Stack.open(tmp_path / "stack", **urls) as stack:
            process = stack.server if role == "server" else stack.start(role)
            eventually(lambda: FULL in process.output(), within_s=60, what="the warning")
            if role == "orchestrator":
                eventually(lambda: "is ready" in process.output(), within_s=60, what=process.output()[-3000:])
            stack.start_worker()
            refused = stack.http.post("/v1/executions", json={"message": "$ echo hello"})
            assert refused.status_code == 503, refused.text
            admin.config_set("maxmemory", 0)
            id = stack.create("$ echo hello")["metadata"]["id"]
            assert stack.wait_for(id, within_s=60)["status"]["phase"] == COMPLETED
            assert "Traceback" not in process.output(), process.output()[-4000:]
