"""Every button of the real Flower, on executions that run and that wait: the table of docs/guides/flower.md."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_runner.app.flower.buttons import BUTTONS, RATE_LIMIT, RESTARTS, TIME_LIMIT
from tests.integration.shared import SharedStacks
from tests.integration.stack import Json, Process, Stack
from tests.integration.test_flower import Flower, completes, flower_of, in_the_tool, in_their_tools
from tests.support.waiting import eventually

POOL = {"AGENT_RUNNER_CONCURRENCY": "2"}


class Lent:
    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.flowers: dict[Path, Flower] = {}
        self.stacks = SharedStacks(lambda: tmp_path_factory.mktemp("buttons"), self._start)

    def _start(self, stack: Stack) -> Process:
        self.flowers[stack.folder] = Flower(stack)
        return stack.start_worker()


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    made = Lent(tmp_path_factory)
    with made.stacks:
        yield made
    for flower in made.flowers.values():
        flower.http.close()


@pytest.fixture
def stack(lent: Lent) -> Iterator[Stack]:
    with lent.stacks.lent(**POOL) as stack:
        yield stack


@pytest.fixture
def flower(stack: Stack, lent: Lent) -> Flower:
    return lent.flowers[stack.folder]


def worker_of(stack: Stack) -> Json:
    (worker,) = stack.workers()
    return worker


def seen(stack: Stack, flower: Flower) -> str:
    """The name of the worker, once Flower's own question to all workers has found it."""
    name = str(worker_of(stack)["name"])
    found = lambda: name in flower.http.get("/api/workers", params={"refresh": "true"}).json()  # noqa: E731
    eventually(found, what="the worker in Flower")
    return name


def press(flower: Flower, path: str, options: dict[str, str] | None = None, *, status: int = 200) -> str:
    answer = flower.http.post(path, params=options)
    assert answer.status_code == status, answer.text
    return answer.text


def queued(stack: Stack, flower: Flower) -> tuple[str, list[str]]:
    """An execution that waits for a slot, and those that hold all of them."""
    held = in_their_tools(stack, flower, worker_of(stack)["slots"])
    return str(stack.create("$ echo waited")["metadata"]["id"]), held


def let_go(stack: Stack, ids: list[str]) -> None:
    for id in ids:
        stack.http.post(f"/v1/executions/{id}/cancel").raise_for_status()
    for id in ids:
        stack.wait_for(id)


ENDING = {
    "Revoke": ("/api/task/revoke/{id}", {}),
    "Terminate": ("/api/task/revoke/{id}", {"terminate": "true", "signal": "SIGKILL"}),
    "Abort": ("/api/task/abort/{id}", {}),
}


@pytest.mark.parametrize("form", ["{id}", "{id}:execute", "{id}:ensure_thread"])
@pytest.mark.parametrize("state", ["running", "queued"])
@pytest.mark.parametrize("button", ENDING)
def test_what_ends_an_execution(stack: Stack, flower: Flower, button: str, state: str, form: str) -> None:
    """By the id of the execution or of one of its tasks: CANCELLED, E401, REVOKED in Flower where it had begun."""
    path, options = ENDING[button]
    id, held = (in_the_tool(stack, flower), []) if state == "running" else queued(stack, flower)
    press(flower, path.format(id=form.format(id=id)), options)
    ended = stack.wait_for(id)
    let_go(stack, held)
    assert ended["status"]["phase"] == "EXECUTION_CANCELLED"
    assert ended["status"]["error"].endswith("[E401 CANCELLED]")
    if state == "running":
        shown = flower.until(f"{id}:execute", lambda t: t["state"] not in ("STARTED", "PROGRESS"), "the end in Flower")
        assert shown["state"] == "REVOKED"
    completes(stack)


def test_without_a_worker_revoke_works_too(tmp_path: Path) -> None:
    """What no worker knows is cancelled on the server."""
    with Stack.open(tmp_path) as stack, flower_of(stack) as flower:
        id = str(stack.create("hello")["metadata"]["id"])
        press(flower, f"/api/task/revoke/{id}")
        assert stack.wait_for(id)["status"]["phase"] == "EXECUTION_CANCELLED"


@pytest.mark.parametrize(
    ("button", "path", "options", "slots"),
    [
        ("Pool grow", "/api/worker/pool/grow/{name}", {"n": "3"}, 5),
        ("Pool shrink", "/api/worker/pool/shrink/{name}", {"n": "1"}, 4),
        ("Autoscale", "/api/worker/pool/autoscale/{name}", {"min": "1", "max": "2"}, 2),
    ],
)
def test_the_pool_has_the_number(
    stack: Stack, flower: Flower, button: str, path: str, options: dict[str, str], slots: int
) -> None:
    """API and metrics show the new number at once, what runs goes on, what waits begins when there is a slot."""
    before = worker_of(stack)["slots"]
    running = in_the_tool(stack, flower)
    press(flower, path.format(name=seen(stack, flower)), options)
    wanted = slots if button == "Autoscale" else before + (3 if "grow" in button else -1)
    eventually(lambda: worker_of(stack)["slots"] == wanted, what=f"{wanted} slots; there are {worker_of(stack)}")
    assert f'agent_runner_worker_slots{{queue="{stack.runner_queue}"}} {wanted}.0' in stack.http.get("/metrics").text
    assert stack.phase(running) == "EXECUTION_IN_PROGRESS"
    more = in_their_tools(stack, flower, wanted - 1)
    waiting = str(stack.create("$ echo waited")["metadata"]["id"])
    let_go(stack, [running, *more])
    assert stack.wait_for(waiting)["status"]["phase"] == "EXECUTION_COMPLETED"


@pytest.mark.parametrize(("button", "route", "said", "options"), [
    ("Time limit", "timeout", TIME_LIMIT, {"soft": "1", "hard": "2"}),
    ("Rate limit", "rate-limit", RATE_LIMIT, {"ratelimit": "1/m"}),
])  # fmt: skip
def test_what_does_not_work_says_why(
    stack: Stack, flower: Flower, button: str, route: str, said: str, options: dict[str, str]
) -> None:
    """409 with what to set instead; running and waiting executions are as before."""
    waiting, held = queued(stack, flower)
    name = worker_of(stack)["name"]
    options = {"workername": name, **options}
    assert press(flower, f"/api/task/{route}/ExecuteGraphton", options, status=409) == said
    assert {stack.phase(id) for id in held} == {"EXECUTION_IN_PROGRESS"}
    let_go(stack, held)
    assert stack.wait_for(waiting)["status"]["phase"] == "EXECUTION_COMPLETED"


def test_shut_down_is_a_restart(tmp_path: Path) -> None:
    """The answer says so; what runs is handed on at its next step, what waits is taken by the successor."""
    with Stack.open(tmp_path, **POOL) as stack, flower_of(stack) as flower:
        stack.start_worker()
        old = worker_of(stack)
        seen(stack, flower)
        running = [stack.create("$ sleep 3\n$ echo after")["metadata"]["id"] for _ in range(2)]
        for id in running:
            stack.wait_text(id, "sleep 3")
        waiting = stack.create("$ echo waited")["metadata"]["id"]
        assert RESTARTS in press(flower, f"/api/worker/shutdown/{old['name']}")
        for id in (*running, waiting):
            assert stack.wait_for(id, within_s=60)["status"]["phase"] == "EXECUTION_COMPLETED"
        assert old["incarnation"] not in {worker["incarnation"] for worker in stack.workers()}
        shown = flower.until(f"{running[0]}:execute", lambda t: t["state"] == "SUCCESS", "its success in Flower")
        assert shown["state"] == "SUCCESS"


def test_every_row_has_its_test() -> None:
    """The table names no button that is not pressed here."""
    rows = {button.name for button in BUTTONS}
    page = (Path(__file__).parents[2] / "docs/guides/flower.md").read_text()
    assert all(f"| {button.name} | {button.running} | {button.queued} |" in page for button in BUTTONS)
    assert rows == {*ENDING, "Pool grow", "Pool shrink", "Autoscale", "Time limit", "Rate limit", "Shut down"}
