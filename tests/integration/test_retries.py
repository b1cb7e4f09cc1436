"""A worker that is killed in any step of a graph: another attempt goes on there, or the failure is the end (L1, L4)."""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.stack import Json, Stack
from tests.support.waiting import eventually
from tests.unit.memory import strict_model

GRAPH = Path(__file__).parent / "graphs" / "six_steps.py"
STEPS = range(1, 7)
TWO = {"maximum_attempts": 2, "initial_interval_s": 0.2}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("retries")
    shutil.copy(GRAPH, folder)
    shutil.copy(Path(str(strict_model.__file__)), folder)
    source = GRAPH.with_name("bad_ends.py").read_text().replace("tests.unit.memory.strict_model", "strict_model")
    (folder / "bad_ends.py").write_text(source)
    graphs: Json = {"six": {"path": "./six_steps.py:six", "durability": "sync"}, "agent": "./bad_ends.py:agent"}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    with Stack.open(folder, AGENT_RUNNER_GRAPHS=str(folder / "langgraph.json")) as stack:
        stack.start("orchestrator")
        for _ in range(2):
            stack.start_worker()
        yield stack


def begin(stack: Stack, message: str, **given: Any) -> Json:
    return stack.create(message, graph="six", **given)


def witnessed(stack: Stack, mark: str) -> dict[int, list[int]]:
    """The processes that began each step, in order."""
    found: dict[int, list[int]] = {}
    for line in (stack.folder / "witness").read_text().splitlines():
        if line.startswith(f"{mark} "):
            _, number, pid = line.split()
            found.setdefault(int(number), []).append(int(pid))
    return found


def answer_to(stack: Stack, message: str, session: str) -> str:
    made = stack.create(message, session_id=session)
    ended = stack.wait_for(made["metadata"]["id"], within_s=60)
    assert ended["status"]["phase"] == "EXECUTION_COMPLETED", ended["status"]
    return str(ended["status"]["messages"][-1]["content"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed_in", STEPS)
def test_the_next_attempt_goes_on_in_another_process(town: Stack, killed_in: int) -> None:
    """Finished steps are not repeated, the open one begins again elsewhere, and memory holds each of them once."""
    mark = f"two{killed_in}"
    made = begin(town, f"{mark} {killed_in}", retry=TWO)
    ended = town.wait_for(made["metadata"]["id"], within_s=60)
    status = ended["status"]
    assert status["phase"] == "EXECUTION_COMPLETED", status
    seen = witnessed(town, mark)
    assert {step: len(pids) for step, pids in seen.items()} == {step: 1 + (step == killed_in) for step in STEPS}
    first, second = seen[killed_in]
    assert first != second
    every = " ".join(f"{mark}{step}" for step in STEPS)
    assert status["messages"][-1]["content"] == f"1: {every}"
    assert (ended["attempts"]["current"], ended["attempts"]["maximum"]) == (2, 2)
    (lost,) = ended["attempts"]["failed"]
    assert (lost["attempt"], lost["error_code"]) == (1, "E103")
    assert "signal 9" in lost["error"]
    assert any(lost["error"] in m["content"] for m in status["messages"] if m["type"] == "MESSAGE_SYSTEM")
    session = made["spec"]["session_id"]
    assert answer_to(town, "next", session) == f"2: {every} {' '.join(f'next{step}' for step in STEPS)}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed_in", STEPS)
def test_with_one_attempt_the_loss_is_the_end(town: Stack, killed_in: int) -> None:
    """E103, nothing is repeated, and the session's next message is answered."""
    mark = f"one{killed_in}"
    made = begin(town, f"{mark} {killed_in}")
    ended = town.wait_for(made["metadata"]["id"], within_s=60)
    assert ended["status"]["error"].endswith("[E103 WORKER_LOST]")
    assert "attempts" not in ended
    seen = witnessed(town, mark)
    assert {step: len(pids) for step, pids in seen.items()} == {step: 1 for step in STEPS if step <= killed_in}
    told = answer_to(town, "after", made["spec"]["session_id"])
    assert told.split()[-len(STEPS) :] == [f"after{step}" for step in STEPS]
    assert Counter(told.split())[f"{mark}{killed_in}"] == 0


@pytest.mark.timeout(120)
def test_a_failure_of_the_agent_is_tried_again_if_it_is_named(town: Stack) -> None:
    """E301 is the end by default; named, each attempt begins at the failed step, and the last reason is the end's."""
    by_default = begin(town, "plain raise", retry=TWO)
    assert "attempts" in (ended := town.wait_for(by_default["metadata"]["id"]))
    assert (ended["status"]["phase"], ended["attempts"]["failed"]) == ("EXECUTION_FAILED", [])
    named = begin(town, "named raise", retry=TWO | {"maximum_attempts": 3, "codes": ["E301"]})
    ended = town.wait_for(named["metadata"]["id"])
    assert ended["status"]["error"].endswith("[E301 APPLICATION]")
    assert "no paper for named" in ended["status"]["error"]
    assert [one["attempt"] for one in ended["attempts"]["failed"]] == [1, 2]
    assert all("no paper" in one["error"] for one in ended["attempts"]["failed"])
    assert {step: len(pids) for step, pids in witnessed(town, "named").items()} == {1: 1, 2: 1, 3: 3}


@pytest.mark.timeout(120)
def test_a_call_in_flight_is_made_again_and_said_so(town: Stack) -> None:
    """Of two calls of one step the finished one keeps its result; the open one is possibly repeated, and is."""
    made = town.create("work hang abc", graph="agent", retry=TWO)
    id, pid = made["metadata"]["id"], town.folder / "pid-abc"
    eventually(pid.exists, within_s=60, what="the open call")
    (town.folder / "mended-abc").touch()
    town.wait_text(id, "mail abc was sent")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    ended = town.wait_for(id, within_s=60)
    assert ended["status"]["phase"] == "EXECUTION_COMPLETED", ended["status"]
    assert ended["status"]["messages"][-1]["content"] == "mail abc was sent; report abc"
    lines = Counter((town.folder / "witness").read_text().splitlines())
    assert (lines["mail abc"], lines["begun abc"]) == (1, 2)
    calls = {call["name"]: call for call in ended["status"]["tool_calls"]}
    assert {name: call["status"] for name, call in calls.items()} == dict.fromkeys(calls, "TOOL_CALL_COMPLETED")
    repeated = {name: call.get("component_metadata", {}).get("metadata", {}) for name, call in calls.items()}
    assert repeated["slow"]["possibly_repeated"] is True
    assert "possibly_repeated" not in repeated["quick"]
    (lost,) = ended["attempts"]["failed"]
    assert lost["possibly_repeated"] == [{"id": calls["slow"]["id"], "name": "slow"}]


@pytest.mark.timeout(120)
def test_a_cancel_between_two_attempts_is_the_end_and_frees_the_session(town: Stack) -> None:
    """It ends at once, although no worker has it, and the next of its session runs."""
    retry = {"maximum_attempts": 5, "initial_interval_s": 600, "maximum_interval_s": 600, "codes": ["E301"]}
    timeouts = {"schedule_to_close_s": 3000}
    made = begin(town, "gone raise", retry=retry, timeouts=timeouts)
    id = made["metadata"]["id"]
    waiting = eventually(lambda: found if "next_at" in (found := town.get(id)).get("attempts", {}) else None, what="it")
    assert waiting["status"]["phase"] == "EXECUTION_IN_PROGRESS"
    behind = town.create("behind", session_id=made["spec"]["session_id"])["metadata"]["id"]
    assert town.phase(behind) == "EXECUTION_PENDING"
    town.http.post(f"/v1/executions/{id}/cancel").raise_for_status()
    ended = town.wait_for(id)
    assert ended["status"]["phase"] == "EXECUTION_CANCELLED"
    assert [one["error_code"] for one in ended["attempts"]["failed"]] == ["E301"]
    assert town.wait_for(behind)["status"]["phase"] == "EXECUTION_COMPLETED"
