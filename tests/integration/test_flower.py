"""What operators see in Flower of runs that their worker cannot speak for, and what its buttons do: the true end."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.shared import SharedStacks
from tests.integration.stack import KEY, Json, Process, Stack
from tests.support.ports import free_port
from tests.support.waiting import eventually

SLOW = "Before.\n$ echo alive\n$ sleep 59.7"
RUNNING = {None, "PENDING", "RECEIVED", "STARTED", "PROGRESS"}


class Flower:
    def __init__(self, stack: Stack) -> None:
        port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("admin", KEY), timeout=30, trust_env=False)
        self._process = stack.start("flower", "--port", str(port))
        eventually(lambda: self.http.get("/healthcheck").status_code == 200, within_s=30, what="Flower")

    def task(self, task_id: str) -> Json:
        answer = self.http.get(f"/api/task/info/{task_id}")
        found: Json = answer.json() if answer.status_code == 200 else {}
        return found

    def until(self, task_id: str, wanted: Callable[[Json], object], what: str) -> Json:
        return eventually(
            lambda: found if (found := self.task(task_id)) and wanted(found) else None, within_s=40, what=what
        )

    def revoke(self, task_id: str, **options: str) -> None:
        self.http.post(f"/api/task/revoke/{task_id}", params=options).raise_for_status()


@contextlib.contextmanager
def flower_of(stack: Stack) -> Iterator[Flower]:
    flower = Flower(stack)
    with contextlib.closing(flower.http):
        yield flower


class Watched:
    """Stacks with Flower and one worker, which the tests of this module share."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.flowers: dict[Path, Flower] = {}
        self.stacks = SharedStacks(lambda: tmp_path_factory.mktemp("flower"), self._start)

    def _start(self, stack: Stack) -> Process:
        """Flower first, so that it hears of everything."""
        self.flowers[stack.folder] = Flower(stack)
        return stack.start_worker()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    all_of_them = Watched(tmp_path_factory)
    with all_of_them.stacks:
        yield all_of_them
    for flower in all_of_them.flowers.values():
        flower.http.close()


@pytest.fixture(params=["async", "prefork"])
def stack(request: pytest.FixtureRequest, watched: Watched, broker: str) -> Iterator[Stack]:
    pool = {"AGENT_RUNNER_POOL": request.param, "AGENT_RUNNER_CONCURRENCY": "2"}
    with watched.stacks.lent(broker, **pool) as lent:
        yield lent


@pytest.fixture
def flower(stack: Stack, watched: Watched) -> Flower:
    return watched.flowers[stack.folder]


def in_the_tool(stack: Stack, flower: Flower) -> str:
    (id,) = in_their_tools(stack, flower, 1)
    return id


def in_their_tools(stack: Stack, flower: Flower, number: int) -> list[str]:
    """So many executions that run, each in its second tool."""
    ids = [str(stack.create(SLOW)["metadata"]["id"]) for _ in range(number)]
    for id in ids:
        wait_for_its_tool(stack, flower, id)
    return ids


def wait_for_its_tool(stack: Stack, flower: Flower, id: str) -> None:
    eventually(
        lambda: len(stack.get(id)["status"].get("tool_calls", ())) == 2,
        within_s=60,
        what=lambda: f"the second tool of {id}: {stack.get(id)['status']}",
    )
    flower.until(f"{id}:execute", lambda t: t["state"] in ("STARTED", "PROGRESS"), "Flower to see it run")


def completes(stack: Stack) -> None:
    following = stack.create("$ echo again")["metadata"]["id"]
    assert stack.wait_for(following)["status"]["phase"] == "EXECUTION_COMPLETED"


@EVERY_BROKER
def test_a_run_ends_in_flower_with_its_worker(stack: Stack, flower: Flower) -> None:
    """FAILURE with the reason that the user reads; a copy of its message does not make it green again."""
    id = in_the_tool(stack, flower)
    worker = next(p for p in stack.processes if p.name == "worker")
    child = worker.child()
    for process in [*child.children(recursive=True), child]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it went with one that was killed before
            if "sleep" not in process.name():
                process.kill()
    ended = stack.wait_for(id)
    assert ended["status"]["error"].endswith("[E103 WORKER_LOST]")
    shown = flower.until(f"{id}:execute", lambda t: t["state"] not in RUNNING, "the task to end in Flower")
    assert shown["state"] == "FAILURE"
    assert "E103 WORKER_LOST" in shown["exception"]
    completes(stack)  # by the worker that came in its place, which RabbitMQ has given the copy first
    assert flower.task(f"{id}:execute")["state"] == "FAILURE"
    result = flower.http.get(f"/api/task/result/{id}:execute").json()
    assert result["state"] == "FAILURE"
    assert stack.get(id) == ended


def test_terminate_is_an_operators_cancel(stack: Stack, flower: Flower) -> None:
    """E401, by whom, within the grace, whatever the signal; the worker takes the next one."""
    for number in ("SIGTERM", "SIGKILL"):
        id = in_the_tool(stack, flower)
        flower.revoke(f"{id}:execute", terminate="true", signal=number)
        ended = stack.wait_for(id)
        assert ended["status"]["phase"] == "EXECUTION_CANCELLED"
        assert ended["status"]["error"].endswith("[E401 CANCELLED]")
        assert "an operator, who revoked the task" in ended["status"]["error"]
        completes(stack)
        shown = flower.until(f"{id}:execute", lambda t: t["state"] not in RUNNING, "the task to end in Flower")
        assert shown["state"] == "REVOKED" or "CANCELLED" in f"{shown['result']} {shown['exception']}"
        assert stack.get(id) == ended


def test_revoke_before_it_runs_is_an_operators_cancel(stack: Stack, flower: Flower) -> None:
    """A task that waits for a slot is revoked: CANCELLED as soon as a worker meets it, and never run."""
    held = in_their_tools(stack, flower, 2)
    waiting = str(stack.create("$ echo never")["metadata"]["id"])
    task_id = f"{waiting}:ensure_thread"
    flower.until(task_id, lambda t: t["state"] in RUNNING, "the task that waits")
    flower.revoke(task_id)
    for id in held:
        stack.http.post(f"/v1/executions/{id}/cancel").raise_for_status()
    ended = stack.wait_for(waiting)
    assert ended["status"]["phase"] == "EXECUTION_CANCELLED"
    assert "an operator, who revoked the task" in ended["status"]["error"]
    assert not ended["status"].get("tool_calls")
    completes(stack)
