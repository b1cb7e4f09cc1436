"""What workers do: the ordinary way of a run, and everything that goes wrong with deliveries, fences and replies."""

import json
from collections.abc import Callable

from hypothesis import strategies as st

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import NewDelta, Outcome, RunBeat
from tests.model.modelled_execution import FOREVER, Modelled
from tests.model.server_verbs import OFTEN_S, SELDOM_S, ServerVerbs, profiles, which
from tests.model.side_by_side import Draw

tokens = st.sampled_from(["t1", "t2"])
slips = st.sampled_from([0] * 7 + [-1, 1, -2])
"""How far a fence or a number is off; mostly right."""
lost_replies = st.sampled_from([False, False, True])
"""The caller did not hear the answer, and calls again."""
heads = st.sampled_from(["", "ck-1", "ck-2"])
PHASE_OF = {"COMPLETED": Phase.COMPLETED, "E401": Phase.CANCELLED, "CANCELLED": Phase.CANCELLED}


class WorkerVerbs(ServerVerbs):
    fresh = 0

    def said(self, first: int, count: int) -> tuple[list[NewDelta], list[str]]:
        """Deltas numbered from `first`, and what they say: the first one opens the message, the rest is text."""
        deltas, words = [], []
        for number in range(first, first + count):
            self.fresh += 1
            words.append(f"{self.fresh}{'.' * 40} ")
            kind, key = ("text", "text") if number else ("message", "content")
            deltas.append(NewDelta(kind=kind, payload=json.dumps({"id": "a1", key: words[-1]})))
        return deltas, words

    def told(self, draw: Draw, verb: str, call: Callable[[], None]) -> None:
        """Call, and sometimes again with the same arguments because the reply got lost."""
        call()
        if draw(lost_replies):
            self.saw("lost reply", verb)
            call()

    # the ordinary way

    def go_on(self, draw: Draw) -> None:
        self.way_on(draw(st.sampled_from(self.owners)), draw(profiles))

    def way_on(self, owner: str, profile: dict[str, float], steps: int = 4) -> None:
        """To the next claimed run: without it most examples would be about nothing."""
        if all(row.over for row in self.model.rows):
            self.add(profile)
        for _ in range(steps):
            self.next_step(owner)

    def next_step(self, owner: str) -> None:
        if early := max((row.not_before for row in self.model.rows if row.step == "execute"), default=0.0):
            self.set_time(early)
        for row in [row for row in self.model.rows if row.step not in ("waiting", "settled", "running")]:
            if row.to_start and row.stamped is None:
                self.dispatch(row)
            elif row.step == "ensure_thread":
                self.begins(row, "t1", owner)
            elif row.step == "thread_started":
                self.is_done(row, row.begin_id)
            else:
                self.claims(row, "t2" if row.claim_id == "t1" else "t1", owner)

    def run_of(self, draw: Draw) -> Modelled:
        """Mostly one that a worker has claimed."""
        index = draw(which)
        if index < 8 and not any(row.step == "running" for row in self.model.rows):
            self.way_on(draw(st.sampled_from(self.owners)), {})
        return self.row(index)

    def works(self, draw: Draw) -> None:
        """A worker that is alive and says something."""
        row = self.run_of(draw)
        if row.step == "running":
            self.beats(row, row.fence)
            self.appends(row, row.fence, row.numbers, draw(st.integers(1, 2)), "")()

    # begin, done, claim

    def delivery_comes_twice(self, draw: Draw) -> None:
        """The last call of its way repeated, by another delivery of it, or any call of anybody."""
        row, how = self.row(draw(which)), draw(st.sampled_from(["repeat", "another", "any"]))
        last = {"thread_started": "begin", "execute": "done"}.get(row.step, "claim")
        if how == "repeat":
            self.delivered(row, last, row.claim_id if last == "claim" else row.begin_id, row.owner)
        elif how == "another":
            self.delivered(row, last, "t3", self.owners[2])
        else:
            what = draw(st.sampled_from(["begin", "done", "claim"]))
            self.delivered(row, what, draw(tokens), draw(st.sampled_from(self.owners)))

    def delivery_is_early(self, draw: Draw) -> None:
        """While the next execution is on its way, at any of its steps."""
        self.let_go(draw)
        self.way_on(self.owners[0], draw(profiles), draw(st.integers(0, 3)))
        for _ in range(2):
            self.delivery_comes_twice(draw)

    def delivery_comes_late(self, draw: Draw) -> None:
        """When schedule-to-start has passed and nobody has swept yet; what sweeps then may have been away."""
        row = self.to_start(draw)
        self.set_time(row.due["start"])
        self.delivered(row, "begin" if row.step == "ensure_thread" else "claim", "t1", self.owners[0])
        if sweep := draw(st.sampled_from([SELDOM_S, OFTEN_S, 0.0])):
            self.sweep(sweep)

    def waits_behind_others(self, draw: Draw) -> None:
        """Until its time to start is up: the workers were at work shortly before, or idle, or not there."""
        row = self.to_start(draw)
        for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
            if "start" not in row.due:
                return
            if draw(which) < 8:
                self.set_time(row.due["start"] - draw(st.sampled_from([1.0, 30.0])))
                owner, at_work = draw(st.sampled_from(self.owners)), draw(st.sampled_from([True, True, True, False]))
                self.works_for_others(owner, at_work=at_work)
            self.set_time(row.due["start"])
            self.sweep(SELDOM_S)
        self.touched.append(row)

    def let_go(self, draw: Draw) -> None:
        """The worker ends its run, or hands it back."""
        for row in [row for row in self.model.rows if row.step == "running"]:
            self.touch_open()
            if draw(st.booleans()) and not row.cancelled:
                self.hands_back(row, row.fence, row.numbers, 0, "")()
            else:
                self.settles(row, row.fence, row.numbers, 0, "", "COMPLETED")()

    def to_start(self, draw: Draw) -> Modelled:
        """An execution that is published and waits for a worker, at its first step, at its second, or handed back."""
        steps = draw(st.sampled_from([1, 3, 4]))
        for row in [row for row in self.model.rows if row.step not in ("waiting", "settled") and steps == 1]:
            self.ask_to_cancel(row)
        self.let_go(draw)
        self.way_on(self.owners[0], draw(profiles), steps)
        for row in [row for row in self.model.rows if row.step == "running"]:
            self.hands_back(row, row.fence, row.numbers, 0, "")()
        row = next(row for row in self.model.rows if row.step not in ("waiting", "settled"))
        if row.step == "thread_started":
            self.is_done(row, row.begin_id)
        if row.stamped is None:
            self.dispatch(row)
        return row

    def publish_again(self, draw: Draw) -> None:
        self.dispatch(self.to_start(draw) if draw(st.booleans()) else self.run_of(draw))

    def publish_what_is_due(self, draw: Draw) -> None:
        """First or again, at the time for it; a re-send moves no deadline."""
        if draw(st.booleans()):
            self.to_start(draw)
            self.set_time(min((row.send_at for row in self.model.rows), default=FOREVER))
        due = sorted(e.id for e in self.world.run(self.world.store.due_for_dispatch()))
        assert due == sorted(self.model.due_for_dispatch())
        self.saw("due_for_dispatch", "some" if due else "none")
        for row in [row for row in self.model.rows if row.id in due]:
            self.dispatch(row)

    def delivered(self, row: Modelled, what: str, token: str, owner: str) -> None:
        if what == "begin":
            self.begins(row, token, owner)
        elif what == "done":
            self.is_done(row, token)
        else:
            self.claims(row, token, owner)

    def begins(self, row: Modelled, token: str, owner: str) -> None:
        self.touched.append(row)
        begun = self.world.run(self.world.store.begin(row.id, token, owner))
        verdict = self.saw("begin", self.model.begin(row, token, owner))
        assert begun.granted == (verdict in ("granted", "again")), begun.refusal
        assert begun.thread_id == (self.model.thread if begun.granted else "")

    def is_done(self, row: Modelled, token: str) -> None:
        self.touched.append(row)
        thread = f"thread-{row.id}"
        stored = self.world.run(self.world.store.done(row.id, token, thread))
        assert stored == (self.saw("done", self.model.done(row, token, thread)) in ("stored", "again"))

    def claims(self, row: Modelled, token: str, owner: str) -> None:
        self.touched.append(row)
        claimed = self.world.run(self.world.store.claim(row.id, token, owner))
        verdict = self.saw("claim", self.model.claim(row, token, owner))
        assert claimed.granted == (verdict in ("granted", "resumed", "again")), claimed.refusal
        if claimed.execution:
            assert (claimed.execution.fence, claimed.execution.attempt) == (row.fence, row.attempt)
            assert claimed.execution.runner_seq == row.numbers
            begins_at = self.model.head if row.resumable or (row.attempt > 1 and row.fence > 1) else row.base
            assert (claimed.resume, claimed.head_checkpoint_id) == (row.resumable, begins_at)

    # append, beat, hand back, settle

    def append(self, draw: Draw) -> None:
        row, count = self.run_of(draw), draw(st.integers(1, 3))
        fence, first = row.fence + draw(slips), max(0, row.numbers + draw(slips) * count)
        self.told(draw, "append", self.appends(row, fence, first, count, draw(heads)))

    def appends(self, row: Modelled, fence: int, first: int, count: int, head: str) -> Callable[[], None]:
        deltas, words = self.said(first, count)

        def call() -> None:
            answer = self.world.run(self.world.store.append(self.known[row.id].handle, fence, first, deltas, head))
            verdict = self.saw("append", self.model.append(row, fence, first, words, head))
            if verdict == "again":
                verdict = "cancel" if row.cancelled else "ok"
            assert answer.verdict.value == verdict
            assert answer.next == (0 if verdict == "fenced_out" else row.numbers)

        return call

    def beat(self, draw: Draw) -> None:
        row = self.run_of(draw)
        fence = row.fence + draw(slips)
        self.told(draw, "beat", lambda: self.beats(row, fence))

    def beats(self, row: Modelled, fence: int) -> None:
        beat = RunBeat(handle=self.known[row.id].handle, fence=fence, progress={})
        answer = self.world.run(self.world.store.beat(row.owner, [beat]))[beat.handle, fence]
        assert answer.value == self.saw("beat", self.model.beat(row, fence))

    def hand_back(self, draw: Draw) -> None:
        row = self.run_of(draw)
        fence, first = row.fence + draw(slips), max(0, row.numbers + draw(slips))
        self.told(draw, "hand_back", self.hands_back(row, fence, first, draw(st.integers(0, 2)), draw(heads)))

    def hands_back(self, row: Modelled, fence: int, first: int, count: int, head: str) -> Callable[[], None]:
        deltas, words = self.said(first, count)

        def call() -> None:
            handle = self.known[row.id].handle
            answer = self.world.run(self.world.store.hand_back(handle, fence, first, deltas, head, "deploy"))
            verdict = self.saw("hand_back", self.model.hand_back(row, fence, first, words, head))
            assert answer.accepted == (verdict in ("accepted", "again"))

        return call

    def settle(self, draw: Draw) -> None:
        row = self.run_of(draw)
        fence, first = row.fence + draw(slips), max(0, row.numbers + draw(slips))
        how = draw(st.sampled_from(["COMPLETED", "E301", "E104", "E106", "E401", "CANCELLED"]))
        self.touch_open()
        self.told(draw, "settle", self.settles(row, fence, first, draw(st.integers(0, 2)), draw(heads), how))

    def settles(self, row: Modelled, fence: int, first: int, count: int, head: str, how: str) -> Callable[[], None]:
        deltas, words = self.said(first, count)
        phase, code = PHASE_OF.get(how, Phase.FAILED), "" if how in Phase.__members__ else how
        outcome = Outcome(phase=phase, code=Code(code) if code else None)

        def call() -> None:
            handle = self.known[row.id].handle
            answer = self.world.run(self.world.store.settle(handle, fence, first, deltas, head, outcome))
            verdict = self.saw("settle", self.model.settle(row, fence, first, words, head, (phase.name, code)))
            assert answer.accepted == (verdict in ("accepted", "retried", "yielded", "again"))
            assert answer.next == row.numbers or verdict != "gap"
            if answer.accepted and answer.execution:
                assert (answer.execution.phase.name, answer.execution.error_code) == (row.phase, row.code)

        return call

    def attempt_fails(self, draw: Draw) -> None:
        """Of an execution with several; then its message comes before its time, or at its time, or it is cancelled."""
        rows = [row for row in self.model.rows if row.step == "running" and row.attempt < row.attempts]
        if not rows:
            self.delete_what_is_over()
            self.add(draw(profiles), tries=3)
            self.way_on(self.owners[0], {})
        for row in [row for row in self.model.rows if row.step == "running"]:
            self.touch_open()
            how = draw(st.sampled_from(["E106", "silence", "E301", "exit", "report"]))
            if how == "silence":
                self.says_nothing(draw)
            elif how == "exit":
                self.exits(row.owner)
            elif how == "report":
                self.fails(row, Code.WORKER_LOST, frozenset({"execute", "running"}), row.attempt)
            else:
                self.told(draw, "settle", self.settles(row, row.fence, row.numbers, 1, draw(heads), how))
            then = draw(st.sampled_from(["early", "on time", "cancel", "outage", "told late", "nothing"]))
            if then == "early":
                self.claims(row, "t3", self.owners[1])
            elif then == "on time":
                self.way_on(self.owners[1], {}, 2)
            elif then == "cancel":
                self.ask_to_cancel(row)
            elif then == "told late" and row.failed:
                self.fails(row, Code.WORKER_LOST, frozenset({"execute", "running"}), row.failed[-1][0])
            elif then == "outage":
                self.set_time(self.model.now + 0.5)
                self.sweep(0.0)

    def cancel(self, draw: Draw) -> None:
        """Half of them of what runs; then its worker does something, or does not."""
        row = self.run_of(draw) if draw(st.booleans()) else self.row(9)
        self.told(draw, "cancel", lambda: self.ask_to_cancel(row))
        then = draw(
            st.sampled_from([self.asks_again, self.gives_up, self.settle, self.hand_back, self.beat, self.says_nothing])
        )
        then(draw)

    def asks_again(self, draw: Draw) -> None:
        """A second request later changes nothing: least of all the deadline of the first."""
        for row in [row for row in self.model.rows if row.step == "running"]:
            self.ask_to_cancel(row)
            self.set_time(self.model.now + draw(st.sampled_from([1.0, 9.0])))
            self.ask_to_cancel(row)
            self.says_nothing(draw)

    def gives_up(self, draw: Draw) -> None:
        how = draw(st.sampled_from(["E104", "E106", "E301", "COMPLETED"]))
        for row in [row for row in self.model.rows if row.step == "running"]:
            self.touch_open()
            self.settles(row, row.fence, row.numbers, 1, "", how)()

    def says_nothing(self, draw: Draw) -> None:
        self.set_time(min((min(row.due.values()) for row in self.model.rows if not row.over), default=0.0))
        self.sweep(SELDOM_S)
