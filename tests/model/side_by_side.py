"""The store and the model of one session: which row a step is about, and what must be the same after it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from agent_runner.status.failures import Code
from agent_runner.status.log.log import LogRow, State, fold, render
from agent_runner.status.phases import TERMINAL_PHASES
from tests.model.execution_model import Model
from tests.model.modelled_execution import FOREVER, Modelled
from tests.model.world import World

MOST_ROWS = 6
TERMINAL = {phase.wire_name for phase in TERMINAL_PHASES}

Draw = Callable[..., Any]
"""Draws from a Hypothesis strategy."""


@dataclass
class Known:
    """What the test has read of one execution so far."""

    handle: int
    last_seq: int = 0
    state: State | None = None


class SideBySide(RuleBasedStateMachine):
    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        # an example must not depend on how long ago the one before it was swept
        self.world.run(self.world.store.tick(period_s=1e9))
        self.model = Model(now=self.world.now, swept_at=self.world.now)
        self.session = f"ses-{uuid.uuid4().hex}"
        name = uuid.uuid4().hex[:8]
        # one process, a prefork child of it, and one that only begins with the same letters
        self.owners = [f"{name}-1", f"{name}-1.7", f"{name}-17"]
        self.known: dict[str, Known] = {}
        self.touched: list[Modelled] = []
        self.agree = True
        """False from the beginning of a step until all that it touched is compared."""

    def saw(self, verb: str, verdict: str) -> str:
        self.world.seen[verb, verdict] += 1
        return verdict

    def row(self, index: int) -> Modelled:
        """Mostly the one whose turn it is; from 8 on any."""
        turn = [row for row in self.model.rows if row.step not in ("waiting", "settled")]
        row = turn[0] if turn and index < 8 else self.model.rows[index % len(self.model.rows)]
        self.touched.append(row)
        return row

    def touch_open(self) -> None:
        """Whoever may have been promoted or ended. What was over before is compared at the end of the example."""
        for row in self.model.rows:
            state = self.known[row.id].state
            if not (state and state.terminal):
                self.touched.append(row)

    def set_time(self, now: float) -> None:
        """Forwards only, and never to the end of time."""
        if self.world.now < now < FOREVER:
            self.world.now = self.model.now = now

    def sweep(self, period_s: float) -> None:
        ticked = self.world.run(self.world.store.tick(period_s=period_s))
        swept = self.model.sweep(max(5.0, 5 * period_s))
        assert [e.id for e in ticked.ended] == swept.ended
        assert [e.id for e in ticked.retried] == swept.retried
        assert ticked.resumed == swept.resumed
        for _ in swept.retried:
            self.saw("sweep", "retried")
        for _ in range(swept.waiting_on):
            self.saw("sweep", "waits_on")
        for code in swept.codes or ["nothing"]:
            self.saw("sweep", code)
        if swept.resumed:
            self.saw("sweep", "amnesty")
        self.touch_open()

    def compare_touched(self) -> None:
        for row in {row.id: row for row in self.touched}.values():
            self.compare(row)
        self.touched = []
        self.agree = True

    def compare(self, row: Modelled, *, whole: bool = False) -> None:
        """The facts, the log's growth (or the whole log), and the status: the fold of the log, and what was said."""
        store, known = self.world.store, self.known[row.id]
        found = self.world.run(store.state(row.id))
        if row not in self.model.rows:
            assert found is None
            return
        assert found is not None
        execution, state = found
        assert (execution.step.value, execution.phase.name, execution.error_code) == (row.step, row.phase, row.code)
        assert (execution.fence, execution.attempt, execution.runner_seq) == (row.fence, row.attempt, row.numbers)
        after = 0 if whole else known.last_seq
        if whole or execution.last_seq != after:
            log = self.world.run(store.read_log(row.id, after=after))
            assert [r.seq for r in log] == list(range(after + 1, execution.last_seq + 1))
            known.state = self.folded(log, None if whole else known.state)
            known.last_seq = execution.last_seq
        assert state == known.state
        status = render(state)
        said = [m.get("content", "") for m in status["messages"] if m["type"] != "MESSAGE_SYSTEM"]
        assert said == (["hello", row.text] if row.numbers else ["hello"])
        assert status["phase"] == execution.phase.wire_name
        assert [(one["attempt"], one["error_code"]) for one in state.attempts] == row.failed

    def folded(self, log: list[LogRow], start: State | None) -> State:
        """Nothing comes after the terminal row."""
        assert not (start and start.terminal and log)
        over = [row.kind == "phase" and row.payload["phase"] in TERMINAL for row in log]
        assert True not in over[:-1]
        return fold(log, start)

    def teardown(self) -> None:
        """Time runs until all is over (L1), the whole log is compared (L6), and the rows are removed."""
        try:
            if self.agree:
                self.run_to_the_end()
        finally:
            for id in self.known:
                self.world.run(self.world.store.fail(id, Code.SYSTEM, {}))
                self.world.run(self.world.store.delete(id))

    def run_to_the_end(self) -> None:
        for _ in range(3 * MOST_ROWS):
            if row := self.model.next_due():
                self.set_time(min(row.due.values()))
                self.sweep(1e9)
        for row in self.model.rows:
            assert row.over
            self.compare(row, whole=True)
