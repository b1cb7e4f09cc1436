"""Two orgs, many sessions, every strategy, priorities, two workers that are killed again and again: what must hold.

AGENT_RUNNER_TEST_CROWD=200 is the full size (50 sessions); the suite has a smaller one.
"""

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from agent_runner.app.server.agent_server.uuids import execution_of, session_of
from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import TERMINAL, Json, Stack
from tests.support.waiting import eventually

GRAPH = Path(__file__).parent / "graphs" / "crowd.py"
SIZE = int(os.environ.get("AGENT_RUNNER_TEST_CROWD", "36"))
SESSIONS = max(8, SIZE // 4)
STEPS, SLOTS, PUBLISHED = 3, 3, 3
STRATEGIES = (*["enqueue"] * 9, "interrupt", "rollback", "reject")
TWO = {"maximum_attempts": 2, "initial_interval_s": 0.2}


@dataclass(kw_only=True)
class One:
    """An accepted execution, in the order of creation."""

    mark: str
    org: str
    session: str
    id: str
    ended: Json = field(default_factory=dict)

    @property
    def phase(self) -> str:
        return str(self.ended["status"]["phase"]) if self.ended else "rolled back"


@dataclass(frozen=True, kw_only=True)
class Line:
    mark: str
    what: str
    step: int
    at: float


@pytest.fixture
def town(tmp_path: Path, broker: str) -> Iterator[Stack]:
    folder = tmp_path
    shutil.copy(GRAPH, folder)
    graphs: Json = {"crowd": {"path": "./crowd.py:crowd", "durability": "sync"}}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    settings = {
        "AGENT_RUNNER_GRAPHS": str(folder / "langgraph.json"),
        "AGENT_RUNNER_CONCURRENCY": str(SLOTS),
        "AGENT_RUNNER_QUEUE_PUBLISHED_MAX": str(PUBLISHED),
        "AGENT_RUNNER_ORG_RUNNING_MAX": str(2 * SLOTS),
    }
    with Stack.open(folder, broker, **settings) as stack:
        stack.start("orchestrator")
        yield stack


@EVERY_BROKER
@pytest.mark.timeout(1500)
def test_a_crowd_under_kills(town: Stack) -> None:
    """Per session never two at once and in their order; every end is one; effects once; both orgs get their turns."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    workers = [town.start_worker() for _ in range(2)]
    keys = {org: key_of(town, org) for org in ("many", "few")}
    crowd = [
        *created(town, keys["many"], "many", SIZE * 2 // 3, chance),
        *created(town, keys["few"], "few", SIZE - SIZE * 2 // 3, chance),
    ]
    kills = until_all_ended(town, crowd, workers, chance)
    lines = [read(line) for line in (town.folder / "record").read_text().splitlines()]
    for one in crowd:
        found = town.http.get(f"/v1/executions/{one.id}")
        one.ended = found.json() if found.status_code == 200 else {}
    print(f"{len(crowd)} accepted, {kills} kills: {dict(Counter((one.org, one.phase) for one in crowd))}")
    assert kills > 0
    never_two_at_once(crowd, lines)
    in_their_order(crowd, lines)
    effects_once(crowd, lines)
    nobody_waits_too_long(crowd, lines)


def key_of(town: Stack, org: str) -> dict[str, str]:
    made = town.http.post("/v1/keys", json={"name": org, "org": org, "scopes": ["read", "execute"]})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


def created(town: Stack, key: dict[str, str], org: str, count: int, chance: random.Random) -> list[One]:
    """A burst of one org over its sessions."""
    sessions = max(4, SESSIONS * count // SIZE)
    threads = [posted(town, "/threads", key, {}).json()["thread_id"] for _ in range(sessions)]
    found: list[One] = []
    for number in range(count):
        thread, strategy = chance.choice(threads), chance.choice(STRATEGIES)
        mark, session = f"{org}{number}", session_of(thread)
        if strategy == "enqueue":
            body: dict[str, Any] = {"message": mark, "graph": "crowd", "session_id": session}
            body["priority"] = chance.randint(-3, 3)
            if chance.random() < 0.4:
                body["retry"] = TWO
            id = posted(town, "/v1/executions", key, body).json()["metadata"]["id"]
        else:
            said = {"messages": [{"role": "user", "content": mark}]}
            body = {"assistant_id": "crowd", "input": said, "multitask_strategy": strategy}
            answer = posted(town, f"/threads/{thread}/runs", key, body)
            if answer.status_code >= 400:  # rejected
                assert strategy == "reject", answer.text
                continue
            id = execution_of(answer.json()["run_id"])
        found.append(One(mark=mark, org=org, session=session, id=id))
    return found


def posted(town: Stack, path: str, key: dict[str, str], body: Json) -> httpx.Response:
    answer = town.http.post(path, json=body, headers=key)
    assert answer.status_code in (200, 201) or body.get("multitask_strategy") == "reject", answer.text
    return answer


def until_all_ended(town: Stack, crowd: list[One], workers: list[Any], chance: random.Random) -> int:
    """Kills the processes that run graphs until everything has ended. Returns how many it killed."""
    kills, until, next_at = 0, time.monotonic() + 1200, 0.0
    eventually((town.folder / "record").exists, within_s=60, what="the first step")

    def left() -> list[str]:
        found = (town.http.get(f"/v1/executions/{one.id}") for one in crowd if one.id not in over)
        for answer in found:
            shown = answer.json()
            if answer.status_code == 404 or shown["status"]["phase"] in TERMINAL:
                over.add(answer.url.path.rpartition("/")[2])
        return [one.id for one in crowd if one.id not in over]

    over: set[str] = set()
    while left():
        assert time.monotonic() < until, [town.get(id) for id in left()[:3]]
        time.sleep(0.25)
        if time.monotonic() >= next_at:
            kills += killed(chance.choice(workers))
            next_at = time.monotonic() + chance.uniform(3, 8)
    return kills


def killed(worker: Any) -> int:
    for child in psutil.Process(worker.pid).children():
        child.send_signal(signal.SIGKILL)
        return 1
    return 0


def read(line: str) -> Line:
    mark, what, step, at, _ = line.split()
    return Line(mark=mark, what=what, step=int(step), at=float(at))


def by_session(crowd: list[One]) -> dict[str, list[One]]:
    found: dict[str, list[One]] = {}
    for one in crowd:
        found.setdefault(one.session, []).append(one)
    return found


def never_two_at_once(crowd: list[One], lines: list[Line]) -> None:
    """In a session's part of the record the lines of each execution stand together."""
    for mine in by_session(crowd).values():
        marks = {one.mark for one in mine}
        said = [line.mark for line in lines if line.mark in marks]
        blocks = [mark for n, mark in enumerate(said) if n == 0 or said[n - 1] != mark]
        assert len(blocks) == len(set(blocks)), blocks


def in_their_order(crowd: list[One], lines: list[Line]) -> None:
    for mine in by_session(crowd).values():
        began = list(dict.fromkeys(line.mark for line in lines if line.mark in {one.mark for one in mine}))
        created_in = [one.mark for one in mine if one.mark in began]
        assert began == created_in


def effects_once(crowd: list[One], lines: list[Line]) -> None:
    """Of a COMPLETED one each effect exactly once, but the open one of a lost attempt once for each attempt; of all
    others at most once per attempt."""
    effects = Counter((line.mark, line.step) for line in lines if line.what == "effect")
    for one in crowd:
        mine = [effects[one.mark, step] for step in range(1, STEPS + 1)]
        attempts = (one.ended.get("attempts") or {}).get("current", 1)
        assert max(mine) <= max(1, attempts), (one.mark, mine)
        if one.phase == "EXECUTION_COMPLETED":
            assert min(mine) == 1, (one.mark, mine)
            assert sum(mine) - STEPS <= attempts - 1, (one.mark, mine)
        elif one.phase == "EXECUTION_FAILED":
            assert one.ended["status"]["error"].endswith(" WORKER_LOST]"), one.ended["status"]["error"]


def nobody_waits_too_long(crowd: list[One], lines: list[Line]) -> None:
    """While an execution was ready, at least every fourth that began was of its own org (the fair share of two orgs is
    every second), but for those that were on the broker or in a slot before."""
    began: dict[str, float] = {}
    for line in lines:
        began.setdefault(line.mark, line.at)
    worst: dict[str, float] = {"many": 0.0, "few": 0.0}
    for mine in by_session(crowd).values():
        free = 0.0
        for one in mine:
            if one.mark in began and one.ended:
                ready = max(free, seconds(one.ended["status"]["audit"]["spec_audit"]["created_at"]))
                between = [other for other in crowd if ready < began.get(other.mark, 0) <= began[one.mark]]
                own = sum(other.org == one.org for other in between)
                worst[one.org] = max(worst[one.org], (len(between) - PUBLISHED - 2 * SLOTS) / max(1, own) / 2)
            if one.ended:
                free = max(free, seconds(one.ended["status"]["audit"]["status_audit"]["updated_at"]))
            else:
                free = max(free, began.get(one.mark, free))
    print("the longest wait, in fair shares:", {org: round(share, 2) for org, share in worst.items()})
    assert max(worst.values()) <= 2


def seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def test_the_overview_shows_whose_turn_it_is(town: Stack) -> None:
    """Without a worker what has its turn stays on the broker, and the others wait for it where people can see it."""
    made = [town.create("x", graph="crowd", priority=n) for n in range(PUBLISHED + 2)]
    waiting = eventually(
        lambda: found if len(found := [m for m in made if "turn" in town.get(m["metadata"]["id"])]) == 2 else None,
        what="two to wait for their turn",
    )
    shown = town.get(waiting[0]["metadata"]["id"])["turn"]
    assert (shown["org"], sorted(shown)) == ("local", ["org", "priority", "waiting_since"])

    def turns() -> Any:
        (queue,) = [q for q in town.http.get("/v1/overview").json()["queues"] if q["name"] == town.runner_queue]
        (org,) = queue["turns"]
        counts = {name: org[name] for name in ("waiting", "published", "underWay")}
        return counts if counts["waiting"] == 2 else None

    assert eventually(turns, what="the overview") == {"waiting": 2, "published": PUBLISHED, "underWay": PUBLISHED}
    assert 'agent_runner_turn_waiting{queue="' in town.http.get("/metrics").text
