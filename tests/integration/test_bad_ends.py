"""A session after a bad end, on real processes and both pools: nothing is lost and nothing is done twice.

Samples of what `tests/unit/memory/test_matrix.py` goes through in one process. The witness is a file that the agents'
tools write; the model refuses a history as Anthropic and OpenAI do.
"""

import json
import os
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.stack import TERMINAL, Json, Stack
from tests.support.waiting import eventually
from tests.unit.memory import strict_model

HERE = Path(__file__).parent
FORMS = ("own", "agent", "deep")
ENDS = {
    "cancelled": ("E401", "the run was cancelled while it was open"),
    "raised": ("E301", "ValueError('no paper')"),
    "time_limit": ("E104", "the run's time was up while it was open"),
    "silent": ("E102", "the worker was lost while it was open"),
    "killed": ("E103", "the worker was lost while it was open"),
}
"""The code of each end, and what the agent is told of the call that was open."""
LIMITS = {"time_limit": {"start_to_close_s": 12}, "silent": {"heartbeat_s": 8}}


class Town:
    """One stack with its witness."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def begin(self, graph: str, end: str) -> Json:
        """An execution that is in the middle of its calls: the first is done and in memory, the other is open."""
        mark = uuid4().hex[:8]
        limits = {"timeouts": LIMITS[end]} if end in LIMITS else {}
        made = self.stack.create(f"work hang {mark}", graph=graph, **limits)
        return {"id": made["metadata"]["id"], "session": made["spec"]["session_id"], "mark": mark, "graph": graph}

    def reached(self, run: Json) -> int:
        """The process that is in the open call."""
        file = self.stack.folder / f"pid-{run['mark']}"

        def open_or_over() -> bool:
            return file.exists() or self.stack.phase(run["id"]) in TERMINAL

        eventually(open_or_over, within_s=60, what=f"the open call of {run}")
        assert file.exists(), self.stack.get(run["id"])["status"]
        eventually(lambda: self.kept(f"mail {run['mark']} was sent"), what=f"the result of {run} in memory")
        return int(file.read_text())

    def kept(self, text: str) -> bool:
        with sqlite3.connect(self.stack.folder / "checkpoints.db") as memory:
            found = memory.execute("SELECT count(*) FROM writes WHERE instr(value, ?)", (text.encode(),))
            return bool(found.fetchone()[0])

    def end(self, runs: list[Json], end: str) -> None:
        """That way."""
        pids = {self.reached(run) for run in runs} if end != "time_limit" else set()
        for run in runs:
            if end == "cancelled":
                self.stack.http.post(f"/v1/executions/{run['id']}/cancel").raise_for_status()
            elif end == "raised":
                (self.stack.folder / f"go-{run['mark']}").touch()
        for pid in pids:
            if end in ("silent", "killed"):
                os.kill(pid, signal.SIGSTOP if end == "silent" else signal.SIGKILL)
        try:
            for run in runs:
                status = self.stack.wait_for(run["id"])["status"]
                assert f"[{ENDS[end][0]} " in status["error"], status
        finally:
            for pid in pids if end == "silent" else ():
                os.kill(pid, signal.SIGCONT)  # what wakes up is fenced out

    def say(self, run: Json, message: str) -> str:
        """The agent's answer to the next message of the session."""
        return self.answer(self.stack.create(message, session_id=run["session"])["metadata"]["id"])

    def redrive(self, run: Json, **body: str) -> str:
        made = self.stack.http.post(f"/v1/executions/{run['id']}/redrive", json=body)
        assert made.status_code == 201, made.text
        return self.answer(made.json()["metadata"]["id"])

    def answer(self, id: str) -> str:
        status = self.stack.wait_for(id, within_s=60)["status"]
        assert status["phase"] == "EXECUTION_COMPLETED", status
        return str(status["messages"][-1]["content"])

    def mend(self, run: Json) -> None:
        (self.stack.folder / f"mended-{run['mark']}").touch()

    def witnessed(self) -> Counter[str]:
        return Counter((self.stack.folder / "witness").read_text().splitlines())

    def latest(self) -> str:
        """The checkpoint that was written last."""
        with sqlite3.connect(self.stack.folder / "checkpoints.db") as memory:
            found = memory.execute("SELECT max(checkpoint_id) FROM checkpoints WHERE checkpoint_ns = ''")
            return str(found.fetchone()[0])

    def head(self, run: Json) -> str:
        """What the server knows of the session's memory."""
        return str(self.stack.http.get(f"/v1/sessions/{run['session']}/state").json()["checkpoint_id"])


@pytest.mark.timeout(400)
@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_sessions_after_bad_ends(tmp_path: Path, pool: str) -> None:
    """Every kind of end, then a message or a redrive; what a killed worker could not tell; what `durability` means.

    One stack for all: starting one takes longer than a kind.
    """
    source = (HERE / "graphs" / "bad_ends.py").read_text()
    (tmp_path / "bad_ends.py").write_text(source.replace("tests.unit.memory.strict_model", "strict_model"))
    shutil.copy(Path(str(strict_model.__file__)), tmp_path)
    graphs: dict[str, Any] = {name: f"./bad_ends.py:{name}" for name in FORMS}
    for durability in ("sync", "exit"):
        graphs[durability] = {"path": "./bad_ends.py:own", "durability": durability}
    graphs["steps"] = {"path": "./bad_ends.py:steps", "durability": "sync"}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    with Stack.open(tmp_path, AGENT_RUNNER_GRAPHS=str(tmp_path / "langgraph.json")) as stack:
        stack.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="6" if pool == "async" else "4")
        town = Town(stack)
        for number, end in enumerate(ENDS):
            # A child of the prefork pool has one run.
            redriven = FORMS if pool == "async" else [FORMS[number % len(FORMS)]]
            the_session_goes_on(town, end, redriven)
        from_the_start(town)
        killed_before_it_could_tell(town, redriven=True)
        killed_before_it_could_tell(town, redriven=False)
        remembers(town, "sync", "killed", its_turn=True)
        remembers(town, "exit", "cancelled", its_turn=True)
        remembers(town, "exit", "killed", its_turn=False)


def the_session_goes_on(town: Town, end: str, redriven: Sequence[str]) -> None:
    """The open call has a result that says what happened, the finished one keeps its own; a redrive goes on there."""
    left, again = ([town.begin(graph, end) for graph in forms] for forms in (FORMS, redriven))
    town.end([*left, *again], end)
    for run in left:
        said = town.say(run, "what did you do?")
        assert said.startswith(f"mail {run['mark']} was sent; Error: this call has no result"), (end, said)
        assert ENDS[end][1] in said
    for run in again:
        town.mend(run)
        assert town.redrive(run) == f"mail {run['mark']} was sent; report {run['mark']}", end
        assert town.say(run, "count") == "2 questions", end
    counted = town.witnessed()
    for run in (*left, *again):
        assert counted[f"mail {run['mark']}"] == 1, (end, run)
        assert counted[f"begun {run['mark']}"] == 1 + (run in again), (end, run)


def from_the_start(town: Town) -> None:
    """As if the run had not been: its calls are made again, and its question stands once."""
    runs = [town.begin(graph, "cancelled") for graph in FORMS]
    town.end(runs, "cancelled")
    for run in runs:
        town.mend(run)
        assert town.redrive(run, **{"from": "start"}) == f"mail {run['mark']} was sent; report {run['mark']}"
        assert town.say(run, "count") == "2 questions"
        assert town.witnessed()[f"mail {run['mark']}"] == 2


def remembers(town: Town, durability: str, end: str, *, its_turn: bool) -> None:
    """`sync` knows what a killed worker had done, `exit` what a run had that could end; else the turn is gone."""
    left, again = town.begin(durability, end), town.begin(durability, end)
    town.end([left, again], end)
    assert town.say(left, "count") == f"{1 + its_turn} questions", (durability, end)
    town.mend(again)
    assert town.redrive(again) == f"mail {again['mark']} was sent; report {again['mark']}"
    assert town.say(again, "count") == "2 questions"
    assert town.witnessed()[f"mail {again['mark']}"] == (1 if its_turn else 2), (durability, end)


def killed_before_it_could_tell(town: Town, *, redriven: bool) -> None:
    """The worker dies right after a step is in memory: a redrive does not repeat the step, a message remembers it."""
    mark = uuid4().hex[:8]
    made = town.stack.create(mark, graph="steps")
    run = {"id": made["metadata"]["id"], "session": made["spec"]["session_id"]}
    eventually((town.stack.folder / f"open-{mark}").exists, within_s=60, what="the second step")
    before = eventually(lambda: town.latest() == town.head(run) and town.head(run), what="the server to know the first")
    (town.stack.folder / f"go-{mark}").touch()
    assert "[E103" in town.stack.wait_for(run["id"])["status"]["error"]
    assert town.head(run) == before, "it could tell, so this is no test"
    if redriven:
        assert town.redrive(run) == "done"
    else:
        assert town.say(run, mark) == "done"
    values = town.stack.http.get(f"/v1/sessions/{run['session']}/state").json()["values"]
    again = [] if redriven else ["first", "second"]
    assert values["done"] == ["first", "second", *again, "third"]
    assert town.witnessed()[f"second {mark}"] == 1 + (not redriven)
