"""Workers of the first release against the server of now, while a deploy replaces them one by one.

The old code is taken out of the repository's history; in a clone without it there is nothing to test.
"""

import base64
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.seeing_model import OPENAI, SeeingModel, seen
from tests.integration.shared import SharedStacks
from tests.integration.stack import Process, Stack
from tests.support.waiting import eventually

RELEASED = "2cd0ac7"
ROOT = Path(__file__).resolve().parents[2]
STEPS = 6
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStacks]:
    """As everywhere, with the setting for the time of such an upgrade: the first release knew no run tokens."""
    new_folder = partial(tmp_path_factory.mktemp, "upgrade")
    with SharedStacks(new_folder, AGENT_RUNNER_WORKERS_WITHOUT_TOKEN="true") as opened:
        yield opened


@pytest.fixture
def stack(shared_server: Stack) -> Stack:
    """Each test starts its workers, of both times."""
    return shared_server


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The value of PYTHONPATH with which our programs are those of the release."""
    try:
        archive = subprocess.run(["git", "archive", RELEASED], cwd=ROOT, capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"the history of this clone does not reach back to {RELEASED}")
    folder = tmp_path_factory.mktemp("released")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    path = f"{folder}{os.pathsep}{folder / 'stubs'}"
    where = "import tasks, clients, agent_runner as wire; print(*(m.__path__[0] for m in (tasks, clients, wire)))"
    environment = {**os.environ, "PYTHONPATH": path}
    # From there: the current folder would come first.
    told = subprocess.run(
        [sys.executable, "-c", where], env=environment, cwd=folder, capture_output=True, check=True, text=True
    )
    assert all(place.startswith(str(folder)) for place in told.stdout.split()), told.stdout
    return path


def test_an_old_worker_works(stack: Stack, old: str) -> None:
    """Tools, a sub-agent, memory over two turns, a cancel, and its death: all as with a worker of now."""
    worker = stack.start_worker(PYTHONPATH=old)
    made = stack.create("I like aubergines.\n$ echo one\n$ exit 3\n@researcher Count. $ echo sub")
    id, session = made["metadata"]["id"], made["spec"]["session_id"]
    status = stack.wait_for(id)["status"]
    assert status["phase"] == "EXECUTION_COMPLETED", status
    assert [call["status"] for call in status["tool_calls"] if call["name"] == "execute"][:2] == [
        "TOOL_CALL_COMPLETED",
        "TOOL_CALL_FAILED",
    ]
    assert status["sub_agent_executions"][0]["status"] == "SUB_AGENT_COMPLETED"
    log = [seq for seq, kind, _ in stack.events(id, 0) if kind == "update"]
    assert log == list(range(1, len(log) + 1))
    again = stack.create("What did I say?", session_id=session)["metadata"]["id"]
    assert "aubergines" in stack.wait_for(again)["status"]["messages"][-1]["content"]
    id = stack.create("$ sleep 60")["metadata"]["id"]
    stack.wait_text(id, "TOOL_CALL_RUNNING")
    stack.http.post(f"/v1/executions/{id}/cancel").raise_for_status()
    assert stack.wait_for(id)["status"]["phase"] == "EXECUTION_CANCELLED"
    id = stack.create("$ sleep 60")["metadata"]["id"]
    stack.wait_text(id, "TOOL_CALL_RUNNING")
    worker.child().kill()
    assert "[E103 WORKER_LOST]" in stack.wait_for(id)["status"]["error"]


@pytest.mark.parametrize("leaving", ["the old one", "the new one"])
def test_a_run_is_handed_between_old_and_new(stack: Stack, old: str, leaving: str) -> None:
    """SIGTERM in the middle of a run: the other one goes on at the next step, and every tool runs once."""
    first_is_old = leaving == "the old one"
    witness, gate = (stack.witnesses / f"{kind} {leaving}".replace(" ", "-") for kind in ("witness", "gate"))
    witness.touch()
    first = start(stack, old if first_is_old else "")
    steps = [f"$ echo step-{n} >> {witness}; sleep 0.2; echo did step {n}" for n in range(STEPS)]
    steps.insert(1, f"$ until test -e {gate}; do sleep 0.05; done")
    id = stack.create("\n".join(["Work.", *steps]))["metadata"]["id"]
    eventually(lambda: "step-0" in witness.read_text(), what="the first step")
    second = start(stack, "" if first_is_old else old)
    first.kill(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in first.output(), what="the first worker to know that it leaves")
    gate.touch()
    status = stack.wait_for(id, within_s=60)["status"]
    assert status["phase"] == "EXECUTION_COMPLETED", status
    assert witness.read_text().split() == [f"step-{n}" for n in range(STEPS)]
    notes = [
        row["payload"]["text"] for _, kind, row in stack.events(id, 0) if kind == "update" and row["kind"] == "note"
    ]
    assert [note.partition(":")[0] for note in notes] == ["handed back"]
    eventually(lambda: first.popen.poll() is not None, what="the leaving worker to end")
    assert first.popen.returncode == 0
    assert second.popen.poll() is None
    after = stack.create("$ echo and another")["metadata"]["id"]
    assert stack.wait_for(after)["status"]["phase"] == "EXECUTION_COMPLETED"


def start(stack: Stack, python_path: str) -> Process:
    return stack.start_worker(**({"PYTHONPATH": python_path} if python_path else {}))


def test_what_an_old_worker_does_not_know_does_it_no_harm(stack: Stack, old: str) -> None:
    """A deleted session makes the server of now ask for removals that the release had not: it works on."""
    worker = stack.start_worker(PYTHONPATH=old)
    made = stack.create("$ echo one")
    stack.wait_for(made["metadata"]["id"])
    stack.http.delete(f"/v1/sessions/{made['spec']['session_id']}").raise_for_status()
    eventually(lambda: "CleanupSandbox" in worker.output().partition("is ready")[2], what="the removals")
    after = stack.create("$ echo two")["metadata"]["id"]
    assert stack.wait_for(after)["status"]["phase"] == "EXECUTION_COMPLETED"
    assert worker.popen.poll() is None


def test_an_old_worker_gets_a_picture(stack: Stack, old: str) -> None:
    """As an input with blocks, which the release knows; words and pictures are both there."""
    picture = {"type": "image", "base64": base64.b64encode(PNG).decode(), "mime_type": "image/png"}
    with SeeingModel(OPENAI) as model:
        stack.start_worker(PYTHONPATH=old, **model.environment)
        id = stack.create([{"type": "text", "text": "What is this?"}, picture])["metadata"]["id"]
        status = stack.wait_for(id)["status"]
        assert "What is this?" in str(model.asked)
    assert status["messages"][-1]["content"].strip() == f"I see {seen('image/png', PNG)}", status
    assert status["messages"][0]["content"] == "What is this?"


def test_a_worker_of_now_works_for_an_old_server(tmp_path: Path, old: str) -> None:
    """Which knows nothing of attachments: words, `input` and memory are what they were."""
    with Stack.open(tmp_path, PYTHONPATH=old) as stack:
        stack.start_worker(PYTHONPATH="")
        made = stack.create("I like aubergines.\n$ echo one")
        assert stack.wait_for(made["metadata"]["id"])["status"]["phase"] == "EXECUTION_COMPLETED"
        again = stack.create("What did I say?", session_id=made["spec"]["session_id"])["metadata"]["id"]
        assert "aubergines" in stack.wait_for(again)["status"]["messages"][-1]["content"]
