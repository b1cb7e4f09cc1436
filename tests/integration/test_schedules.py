"""Schedules on real servers: two of them on one Postgres fire each time once, while one is killed; the command line."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.replicas import two_servers
from tests.integration.stack import KEY, Json, Stack
from tests.support.databases import migrated
from tests.support.waiting import eventually

PROGRAM = Path(sys.executable).parent / "agent-runner"
SCHEDULES, TIMES, APART_S = 12, 8, 0.5


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with migrated("postgres", tmp_path / "database") as url, Stack.open(tmp_path, AGENT_RUNNER_DATABASE_URL=url) as up:
        yield up


def cli(stack: Stack, *arguments: str) -> str:
    """What `agent-runner schedules` prints."""
    argv = [sys.executable, str(PROGRAM), "schedules", "--server", str(stack.http.base_url), *arguments]
    env = stack.environment({"STIGMER_API_KEY": KEY, "TOKEN": "of-the-schedule"})
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def moments(first_s: float, count: int) -> list[str]:
    return [datetime.fromtimestamp(first_s + n * APART_S, UTC).isoformat() for n in range(count)]


def test_two_servers_never_fire_twice_and_a_killed_one_loses_nothing(stack: Stack) -> None:
    """96 times of 12 schedules within four seconds, and a SIGKILL of one server in the middle of them: 96 executions,
    one for each time, and no session beside theirs that was made for nothing by the server that lives."""
    stack.start_worker()
    with two_servers(stack) as (a, _):
        times = moments(time.time() + 3, TIMES)
        ids = []
        for n in range(SCHEDULES):
            body = {"name": f"s{n}", "at": times, "catch_up": "all", "catch_up_limit": 100, "grace_s": 0,
                    "execution": {"message": f"schedule {n}"}}  # fmt: skip
            made = a.http.post("/v1/schedules", json=body)
            assert made.status_code == 201, made.text
            ids.append(made.json()["id"])

        def firings() -> list[tuple[str, Json]]:
            return [(id, one) for id in ids for one in a.http.get(f"/v1/schedules/{id}/firings").json()["firings"]]

        eventually(lambda: len(firings()) >= SCHEDULES * TIMES // 3, within_s=60, what="a third of the firings")
        (second,) = [one for one in stack.processes if one.name == "server" and one is not stack.server]
        second.child().kill()
        eventually(lambda: len(firings()) >= SCHEDULES * TIMES, within_s=60, what="all firings")
        found = firings()
        assert Counter(one["outcome"] for _, one in found) == {"fired": SCHEDULES * TIMES}
        assert len({(id, one["due_at"]) for id, one in found}) == SCHEDULES * TIMES
        assert len({one["execution_id"] for _, one in found}) == SCHEDULES * TIMES
        listed = [
            entry["metadata"]["id"]
            for id in ids
            for entry in a.http.get("/v1/executions", params={"tag": f"schedule:{id}"}).json()["entries"]
        ]
        assert sorted(listed) == sorted(one["execution_id"] for _, one in found)
        assert {a.http.get(f"/v1/schedules/{id}").json()["ended"] for id in ids} == {"no_more_times"}
        assert stack.wait_for(listed[0])["status"]["phase"] == "EXECUTION_COMPLETED"


def test_schedules_on_the_command_line(stack: Stack) -> None:
    """Made, looked at, changed, fired and deleted by its commands; what it says can be given to it again."""
    made = json.loads(
        cli(stack, "create", "nightly", "Look around.", "--cron", "0 3 * * *", "--timezone",
                  "Europe/Berlin", "--env", "TOKEN", "--json")
    )  # fmt: skip
    id = made["id"]
    assert made["execution"]["env"] == {"TOKEN": "***"}
    assert "nightly" in cli(stack, "list")
    assert len(cli(stack, "preview", id, "--count", "3").splitlines()) == 3
    assert "T09:00:00+01:00" in cli(stack, "preview", "--cron", "0 9 1 1 *", "--timezone", "Europe/Berlin")
    assert "paused" in cli(stack, "pause", id)
    execution = cli(stack, "fire", id).strip()
    stack.start_worker()
    assert stack.wait_for(execution)["status"]["phase"] == "EXECUTION_COMPLETED"
    shown = cli(stack, "history", id)
    assert execution in shown
    assert "COMPLETED" in shown
    assert "active" in cli(stack, "resume", id)
    assert "30 4 * * *" in cli(stack, "update", id, "--cron", "30 4 * * *", "--overlap", "reject")
    assert json.loads(cli(stack, "get", id))["overlap"] == "reject"
    assert "is deleted" in cli(stack, "delete", id)
    assert id not in cli(stack, "list")
