"""One start and no text twice, whatever is delivered, lost or cut (L4). The witness is a file outside the system."""

import signal
import time
import uuid

import pytest
import redis

from agent_runner.status.phases import Step
from tests.integration.grpc_proxy import GrpcProxy
from tests.integration.messages import empties, publish_again
from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import Json, Stack
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = EVERY_BROKER


class Witnessed:
    """A run whose tools leave a line each in a file that only the test reads."""

    def __init__(self, stack: Stack, *, pause_s: float = 1.5) -> None:
        self._stack = stack
        self.file = stack.witnesses / f"{uuid.uuid4().hex}.txt"
        self.file.touch()
        self._message = "\n".join(
            [
                "Work.",
                f"$ echo first >> {self.file}; echo first done",
                f"$ sleep {pause_s}",
                f"$ echo second >> {self.file}; echo second done",
            ]
        )

    def start(self) -> str:
        return str(self._stack.create(self._message)["metadata"]["id"])

    def lines(self) -> list[str]:
        return self.file.read_text().split()

    def started(self) -> bool:
        return "first" in self.lines()

    def check(self, status: Json) -> None:
        """Completed, each tool once, each message once."""
        assert status["phase"] == "EXECUTION_COMPLETED", status
        assert self.lines() == ["first", "second"]
        assert [c["name"] for c in status["tool_calls"]] == ["execute"] * 3
        texts = [m["content"] for m in status["messages"] if m["type"] == "MESSAGE_AI" and m["content"]]
        assert len(texts) == len(set(texts))
        final = texts[-1]
        assert final.count("\n> first done") == 1, final
        assert final.count("\n> second done") == 1, final


def settle_down(stack: Stack, id: str, witnessed: Witnessed) -> None:
    witnessed.check(stack.wait_for(id)["status"])
    log = [seq for seq, kind, _ in stack.events(id, 0) if kind == "update"]
    assert log == list(range(1, len(log) + 1))


@pytest.mark.promise("3.14")
def test_the_message_is_delivered_again(shared: Stack) -> None:
    """Copies at once, while it runs and after the end start nothing."""
    witnessed = Witnessed(shared)
    id = witnessed.start()
    publish_again(shared, id, Step.ENSURE_THREAD, Step.EXECUTE)
    eventually(witnessed.started)
    publish_again(shared, id, Step.ENSURE_THREAD, Step.EXECUTE, Step.EXECUTE)
    settle_down(shared, id, witnessed)
    publish_again(shared, id, Step.ENSURE_THREAD, Step.EXECUTE)
    empties(shared)
    settle_down(shared, id, witnessed)


@pytest.mark.parametrize("down_s", [0.2, 3.0])
def test_redis_is_restarted_in_mid_run(shared: Stack, down_s: float) -> None:
    """The worker process lives, the run completes, and the next execution runs."""
    worker = next(p for p in shared.processes if p.name == "worker").child()
    witnessed = Witnessed(shared, pause_s=down_s + 1)
    id = witnessed.start()
    eventually(witnessed.started)
    shared.redis.popen.send_signal(signal.SIGKILL)
    shared.redis.popen.wait()
    until = time.monotonic() + down_s
    eventually(lambda: time.monotonic() >= until, within_s=down_s + 20)
    shared.start_redis()
    settle_down(shared, id, witnessed)
    assert worker.is_running()
    following = shared.create("$ echo again")["metadata"]["id"]
    assert shared.wait_for(following)["status"]["phase"] == "EXECUTION_COMPLETED"
    assert worker.is_running()
    empties(shared)


def test_the_workers_redis_connections_are_killed(shared: Stack) -> None:
    """CLIENT KILL of every connection: no second copy, and the worker serves on."""
    witnessed = Witnessed(shared)
    id = witnessed.start()
    eventually(witnessed.started)
    with redis.Redis(port=shared.redis_port) as client:
        assert int(client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")) > 0
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
    settle_down(shared, id, witnessed)
    empties(shared)


def test_a_reply_is_lost_after_the_commit(stack: Stack) -> None:
    """The replies of begin, claim, append and settle are dropped once each: nothing happens twice."""
    port = free_port()
    with GrpcProxy(port, stack.grpc_port) as proxy:
        stack.start_worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
        witnessed = Witnessed(stack)
        calls = ("begin", "claim", "append", "settle")
        for call in calls:
            proxy.lose_reply(call)
        id = witnessed.start()
        settle_down(stack, id, witnessed)
        assert dict(proxy.lost) == dict.fromkeys(calls, 1)
        for process in [p for p in stack.processes if p.name == "worker"]:
            process.stop()
