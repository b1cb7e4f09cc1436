"""Retention on real processes: what workers remove, what a session still remembers, and messages that get lost."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import Json, Stack
from tests.support.waiting import eventually

PROGRAM = Path(sys.executable).parent / "agent-runner"
DAY_S = 86_400.0


@contextmanager
def database(stack: Stack, name: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(stack.folder / name, timeout=10)) as connection, connection:
        yield connection


def checkpoints(stack: Stack, session: str) -> int:
    with database(stack, "checkpoints.db") as memory:
        found = memory.execute("select count(*) from checkpoints where thread_id = ?", (f"thread-{session}",))
        return int(found.fetchone()[0])


def age(stack: Stack, days: float, execution: str) -> None:
    """As if it had ended, and its session had been used, that much earlier."""
    with database(stack, "agent-runner.db") as store:
        moved = store.execute(
            "update executions set completed_at = completed_at - ? where id = ?", (days * DAY_S, execution)
        )
        assert moved.rowcount == 1
        store.execute(
            "update session_facts set used_at = used_at - ? where session_id ="
            " (select session_id from executions where id = ?)",
            (days * DAY_S, execution),
        )


def retention(stack: Stack, *arguments: str) -> Json:
    argv = [sys.executable, str(PROGRAM), "retention", "--json", *arguments]
    environment = stack.environment() | {"AGENT_RUNNER_HTTP_URL": f"http://127.0.0.1:{stack.http_port}"}
    done = subprocess.run(argv, cwd=stack.folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: Json = json.loads(done.stdout)
    return found


def confirmed(stack: Stack) -> bool:
    return bool(retention(stack, "--dry-run")["unconfirmed"] == 0)


def turn(stack: Stack, message: str, **given: Any) -> tuple[str, str]:
    """(execution, session) of one that has completed."""
    execution = stack.create(message, **given)
    stack.wait_for(execution["metadata"]["id"], "EXECUTION_COMPLETED")
    return execution["metadata"]["id"], execution["spec"]["session_id"]


@pytest.mark.promise("4.07")
@EVERY_BROKER
def test_a_deleted_session_takes_its_sandbox_and_its_memory_along(served: Stack) -> None:
    """The directory and every checkpoint of its thread are gone, the server knows it; its neighbour's stay."""
    _, mine = turn(served, "$ echo kept > note.txt")
    _, theirs = turn(served, "My favourite colour is vermilion.\n$ echo kept > other.txt")
    (note,), (other,) = served.folder.rglob("note.txt"), served.folder.rglob("other.txt")
    assert checkpoints(served, mine) > 0
    before = checkpoints(served, theirs)
    served.http.delete(f"/v1/sessions/{mine}").raise_for_status()
    eventually(lambda: not note.parent.parent.exists(), what="the sandbox to be removed")
    eventually(lambda: checkpoints(served, mine) == 0, what="the checkpoints to be removed")
    eventually(lambda: confirmed(served), what="the worker to say so")
    assert other.read_text() == "kept\n"
    assert checkpoints(served, theirs) == before
    id, _ = turn(served, "What did I say?", session_id=theirs)
    assert "vermilion" in json.dumps(served.get(id)["status"])


def test_a_session_remembers_when_all_of_it_is_old(served: Stack) -> None:
    """Its executions and its sandbox go, a young and a running execution stay, the next turn knows the first."""
    first, idle = turn(served, "My favourite colour is vermilion.\n$ echo kept > note.txt")
    old, _ = turn(served, "hello", session_id=idle)  # somebody came back: it was not made for one execution
    also_old, busy = turn(served, "hello")
    young, _ = turn(served, "hello")
    running = served.create("$ touch at-work; while [ ! -e go ]; do sleep 0.05; done; echo done", session_id=busy)
    eventually(lambda: next(served.folder.rglob("at-work"), None), what="the run to be at work")
    for execution in (first, old, also_old):
        age(served, 31, execution)
    (note,) = served.folder.rglob("note.txt")

    removed = retention(served)
    assert (removed["executions"], removed["sessions"]) == (3, 1)
    assert served.http.get(f"/v1/executions/{old}").status_code == 404
    assert served.phase(young) == "EXECUTION_COMPLETED"
    assert served.phase(running["metadata"]["id"]) == "EXECUTION_IN_PROGRESS"
    eventually(lambda: not note.parent.parent.exists(), what="the sandbox to be removed")
    eventually(lambda: confirmed(served), what="the worker to say so")

    next(served.folder.rglob("at-work")).with_name("go").touch()
    ended = served.wait_for(running["metadata"]["id"], "EXECUTION_COMPLETED")
    assert "done" in json.dumps(ended["status"]["tool_calls"])

    id, _ = turn(served, "What did I say?\n$ ls; echo new > note.txt", session_id=idle)
    status = served.get(id)["status"]
    assert "vermilion" in json.dumps([m for m in status["messages"] if m["type"] == "MESSAGE_AI"])
    assert "note.txt" not in status["tool_calls"][0]["result"]
    (fresh,) = served.folder.rglob("note.txt")
    assert fresh.parent.parent != note.parent.parent
    again, _ = turn(served, "$ cat note.txt", session_id=idle)
    assert "new" in served.get(again)["status"]["tool_calls"][0]["result"]


def test_lost_messages_are_sent_again(stack: Stack) -> None:
    """The broker loses everything before a worker takes it: the next run of the retention asks again."""
    worker = stack.start_worker()
    _, session = turn(stack, "$ echo kept > note.txt")
    (note,) = stack.folder.rglob("note.txt")
    worker.stop()
    stack.http.delete(f"/v1/sessions/{session}").raise_for_status()
    with redis.Redis(port=stack.redis_port) as client:
        eventually(lambda: client.llen(stack.runner_queue) == 2, what="both messages")
        client.delete(stack.runner_queue)
    stack.start_worker()
    assert note.exists()
    assert retention(stack, "--dry-run")["unconfirmed"] == 2
    retention(stack)
    eventually(lambda: not note.exists(), what="the sandbox to be removed")
    eventually(lambda: checkpoints(stack, session) == 0, what="the checkpoints to be removed")
    eventually(lambda: confirmed(stack), what="the worker to say so")
