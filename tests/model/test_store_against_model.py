"""The store does what the model says, under any order of calls, stale fences, lost replies and time (L1-L5, L8)."""

import asyncio
import itertools
import os
import tempfile
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from status.failures import Code
from status.log import render
from status.phases import TERMINAL_PHASES, Phase
from status.store import schema
from status.store.records import NewDelta, NewExecution, Outcome, RunBeat
from status.store.store import Store
from status.timeouts import Timeouts
from tests.model.execution_model import Model, Modelled
from tests.store.conftest import POSTGRES

T = TypeVar("T")
PERIOD_S, GAP_S = 1.0, 5.0
OWNERS = ("w1", "w2")
tokens = st.sampled_from(["t1", "t2"])
owners = st.sampled_from(OWNERS)
which = st.integers(0, 7)
rare = st.integers(0, 3)
slips = st.sampled_from([0, 0, 0, 0, -1, 1])
"""How far a fence or a number is off; mostly right."""
HELLO = {"queue": "q", "role": "worker", "hostname": "h", "pid": 1, "slots": 1, "name": "w", "version": "1"}


class World:
    """One database for all examples; each example has a session of its own."""

    def __init__(self, url: str) -> None:
        schema.migrate(url)
        self.now = 1_000_000.0
        self.loop = asyncio.new_event_loop()
        self.url = url
        self.store = Store.open(url, now=lambda: self.now)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def restart(self) -> None:
        """A server restart: nothing but the database survives."""
        self.run(self.store.close())
        self.store = Store.open(self.url, now=lambda: self.now)

    def close(self) -> None:
        self.run(self.store.close())
        self.loop.close()


def machine(world: World) -> type[RuleBasedStateMachine]:  # noqa: C901 - one short rule per verb of the store
    class StoreAndModel(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            world.now += 100_000  # everything left open by the example before ends in the first sweep
            world.run(world.store.tick(period_s=PERIOD_S))
            world.now += 1
            world.run(world.store.tick(period_s=1e9))
            self.model = Model(now=world.now, swept_at=world.now)
            self.session = f"ses-{uuid.uuid4().hex}"
            self.handles: dict[str, int] = {}
            self.mark = itertools.count()
            self.before: dict[str, list[tuple[int, str, str]]] = {}

        @initialize(steps=st.integers(0, 5))
        def begin_somewhere(self, steps: int) -> None:
            self.create()
            self.as_usual(0, steps)

        def row(self, index: int) -> Modelled:
            """Mostly the one whose turn it is; sometimes any."""
            turn = [r for r in self.model.rows if r.step not in ("waiting", "settled")]
            return turn[0] if turn and index < 6 else self.model.rows[index % len(self.model.rows)]

        def deltas(self, count: int) -> list[NewDelta]:
            return [NewDelta(kind="note", payload=f'{{"text":"{next(self.mark)}"}}') for _ in range(count)]

        @precondition(lambda self: len(self.model.rows) < 4)
        @rule()
        def create(self) -> None:
            id = f"aex-{uuid.uuid4().hex}"
            new = NewExecution(
                id=id,
                org="o",
                session_id=self.session,
                agent_id="a",
                name="n",
                slug="n",
                message="hello",
                timeouts=Timeouts(),
                runner_queue="q",
                orchestrator_queue="o",
            )
            created = world.run(world.store.create(new)).execution
            assert created is not None
            self.handles[id] = created.handle
            self.model.create(id)

        @rule(index=which)
        def dispatched(self, index: int) -> None:
            row = self.row(index)
            world.run(world.store.dispatched(row.id))
            self.model.dispatched(row)

        @rule(index=which, token=tokens, owner=owners)
        def begin(self, index: int, token: str, owner: str) -> None:
            row = self.row(index)
            assert world.run(world.store.begin(row.id, token, owner)).granted == self.model.begin(row, token, owner)

        @rule(index=which, token=tokens)
        def done(self, index: int, token: str) -> None:
            row = self.row(index)
            assert world.run(world.store.done(row.id, token, "thread")) == self.model.done(row, token)

        @rule(index=which, token=tokens, owner=owners)
        def claim(self, index: int, token: str, owner: str) -> None:
            row = self.row(index)
            claimed = world.run(world.store.claim(row.id, token, owner))
            assert claimed.granted == self.model.claim(row, token, owner), claimed.refusal
            if claimed.granted and claimed.execution:
                assert (claimed.execution.fence, claimed.execution.attempt) == (row.fence, row.attempt)

        @rule(index=which, steps=st.integers(1, 4))
        def as_usual(self, index: int, steps: int) -> None:
            """The ordinary way on: without it few examples would come as far as a running worker."""
            for _ in range(steps):
                row = self.row(index)
                if row.step in ("ensure_thread", "execute") and not row.stamped:
                    self.dispatched(index)
                elif row.step == "ensure_thread":
                    self.begin(index, "t1", "w1")
                elif row.step == "thread_started":
                    self.done(index, row.begin_id)
                elif row.step == "execute":
                    self.claim(index, "t2", "w2")

        @rule(index=which, fence=slips, first=slips, count=st.integers(1, 3))
        def append(self, index: int, fence: int, first: int, count: int) -> None:
            row = self.row(index)
            at, number = row.fence + fence, row.numbers + first * count
            answer = world.run(world.store.append(self.handles[row.id], at, number, self.deltas(count)))
            assert answer.verdict.value == self.model.append(row, at, number, count)

        @rule(index=which, fence=slips)
        def beat(self, index: int, fence: int) -> None:
            row = self.row(index)
            at = row.fence + fence
            beat = RunBeat(handle=self.handles[row.id], fence=at, progress={})
            answer = world.run(world.store.beat("w1", [beat]))[beat.handle, at]
            assert answer.value == self.model.beat(row, at)

        @rule(index=which, fence=slips, first=slips, how=st.sampled_from(["COMPLETED", "E301", "E104", "E401"]))
        def settle(self, index: int, fence: int, first: int, how: str) -> None:
            row = self.row(index)
            at, number = row.fence + fence, row.numbers + first
            phase = {"COMPLETED": Phase.COMPLETED, "E401": Phase.CANCELLED}.get(how, Phase.FAILED)
            outcome = Outcome(phase=phase, code=None if how == "COMPLETED" else Code(how))
            settled = world.run(world.store.settle(self.handles[row.id], at, number, self.deltas(1), "", outcome))
            code = outcome.code.value if outcome.code else ""
            assert settled.accepted == self.model.settle(row, at, number, 1, phase.name, code)

        @rule(index=which, fence=slips, first=slips)
        def hand_back(self, index: int, fence: int, first: int) -> None:
            row = self.row(index)
            at, number = row.fence + fence, row.numbers + first
            handed = world.run(world.store.hand_back(self.handles[row.id], at, number, [], "", "deploy"))
            assert handed.accepted == self.model.hand_back(row, at, number)

        @rule(index=which, rare=rare)
        def cancel(self, index: int, rare: int) -> None:
            row = self.row(index if rare < 2 else 7)
            world.run(world.store.request_cancel(row.id, "tester"))
            self.model.cancel(row)

        @rule(index=which, code=st.sampled_from([Code.WORKER_LOST, Code.BAD_MESSAGE]), rare=rare)
        def fail(self, index: int, code: Code, rare: int) -> None:
            row = self.row(index if rare == 0 else 7)
            if rare and not row.over:
                return
            assert world.run(world.store.fail(row.id, code, {})).accepted == self.model.fail(row, code.value)

        @rule(owner=owners, what=st.sampled_from(["disconnected", "disconnected", "hello", "hello", "hello", "exited"]))
        def presence(self, owner: str, what: str) -> None:
            world.run(world.store.hello(incarnation=owner, **HELLO))  # type: ignore[arg-type]
            self.model.hello(owner)
            if what == "disconnected":
                world.run(world.store.disconnected(owner, 3.0))
                self.model.disconnected(owner)
            elif what == "exited":
                world.run(world.store.exited(owner, "signal 9"))
                self.model.exited(owner)

        @rule(seconds=st.sampled_from([0.5, 0.5, 0.5, 2.0, 2.0, 4.0, 20.0, 35.0, 70.0]), swept=st.booleans())
        def time_passes(self, seconds: float, swept: bool) -> None:
            """With sweeps every second, or without any: an outage."""
            until = world.now + seconds
            while world.now < until:
                world.now = self.model.now = min(world.now + 1.0, until) if swept else until
                if swept:
                    self.sweep()

        @rule()
        def sweep(self) -> None:
            world.run(world.store.tick(period_s=PERIOD_S))
            self.model.sweep(GAP_S)

        @rule(rare=rare)
        def server_restarts(self, rare: int) -> None:
            if rare == 0:
                world.restart()

        @invariant()
        def the_same(self) -> None:
            for row in self.model.rows:
                found = world.run(world.store.state(row.id))
                assert found is not None
                execution, state = found
                assert (execution.step.value, execution.phase.name) == (row.step, row.phase), row
                assert (execution.fence, execution.attempt, execution.runner_seq) == (
                    row.fence,
                    row.attempt,
                    row.numbers,
                )
                assert execution.error_code == row.code
                assert state.phase is execution.phase
                self.check_log(row, execution.last_seq, render(state))

        def check_log(self, row: Modelled, last_seq: int, status: dict[str, Any]) -> None:
            """No gap, nothing rewritten, the terminal row last, the user's message still first."""
            log = [(r.seq, r.kind, str(r.payload)) for r in world.run(world.store.read_log(row.id))]
            assert [seq for seq, _, _ in log] == list(range(1, last_seq + 1))
            known = self.before.get(row.id, [])
            assert log[: len(known)] == known
            if known and self.over(known):
                assert log == known
            self.before[row.id] = log
            assert status["messages"][0]["content"] == "hello"

        def over(self, log: list[tuple[int, str, str]]) -> bool:
            return log[-1][1] == "phase" and any(p.wire_name in log[-1][2] for p in TERMINAL_PHASES)

    return StoreAndModel


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_the_store_does_what_the_model_says(backend: str) -> None:
    """No sequence of calls makes the two differ."""
    server = os.environ.get(POSTGRES, "")
    if backend == "postgres" and not server:
        pytest.skip(f"needs a Postgres server: set {POSTGRES}")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder)}/model.db"
        name = f"agent_runner_model_{uuid.uuid4().hex[:8]}"
        if backend == "postgres":
            import psycopg

            with psycopg.connect(server, autocommit=True) as admin:
                admin.execute(f"create database {name}")
            url = f"{server.rsplit('/', 1)[0]}/{name}"
        world = World(url)
        examples = int(os.environ.get("AGENT_RUNNER_TEST_EXAMPLES", "40"))
        try:
            run_state_machine_as_test(
                machine(world),
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            world.close()
            if backend == "postgres":
                with psycopg.connect(server, autocommit=True) as admin:
                    admin.execute(f"drop database {name} with (force)")
