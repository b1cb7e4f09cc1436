"""What users and servers do: create, publish, cancel, fail, take back; presence, time, restarts."""

import uuid
from typing import Any

from hypothesis import strategies as st

from agent_runner.status.failures import Code
from agent_runner.status.phases import Step
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.store.records import NewExecution
from agent_runner.status.timeouts import Timeouts
from tests.model.modelled_execution import LIMITS, LONGEST_PAUSE, PAUSE, Modelled
from tests.model.side_by_side import MOST_ROWS, Draw, Known, SideBySide

OFTEN_S, SELDOM_S = 1.0, 60.0
"""The sweeper's period as it tells the store: a pause is an outage above 5 s, or above 300 s."""
FIELDS = {
    "wait": "thread_wait_s",
    "start": "schedule_to_start_s",
    "busy": "busy_to_start_s",
    "thread": "ensure_thread_s",
    "beat": "heartbeat_s",
    "lost": "worker_lost_grace_s",
    "run": "start_to_close_s",
    "total": "schedule_to_close_s",
    "cancel": "cancel_s",
    "grace": "settle_grace_s",
}
STEPS = {step.value: step for step in Step}
HELLO: dict[str, Any] = {"role": "worker", "hostname": "h", "pid": 1, "slots": 1, "name": "w"}

profiles = st.sampled_from([{}, {"run": 15.0}, {"total": 45.0}, {"busy": 150.0}, {"busy": 150.0}])
"""Which limit is short, so that each is the first to pass now and then."""
attempts = st.sampled_from([1, 1, 2, 3])
which = st.integers(0, 9)


class ServerVerbs(SideBySide):
    def add(
        self,
        profile: dict[str, float],
        *,
        key: str = "",
        reject: bool = False,
        cap: int = 0,
        id: str = "",
        tries: int = 1,
    ) -> None:
        if len(self.model.rows) >= MOST_ROWS:
            self.delete_what_is_over()
        limits = LIMITS | profile
        limits["wait"] += len(self.known) * 2**-16  # no two end in the same moment
        new = Modelled(
            id=id or f"aex-{uuid.uuid4().hex}", limits=limits, key=key and f"{self.session}-{key}", attempts=tries
        )
        asked = NewExecution(
            id=new.id,
            org="o",
            session_id=self.session,
            agent_id="a",
            name="n",
            slug="n",
            message="hello",
            timeouts=Timeouts(**{FIELDS[name]: value for name, value in limits.items()}),
            runner_queue=self.session,
            orchestrator_queue="o",
            idempotency_key=new.key,
            multitask=Multitask.REJECT if reject else Multitask.ENQUEUE,
            retry=RetryPolicy(maximum_attempts=tries, initial_interval_s=PAUSE, maximum_interval_s=LONGEST_PAUSE),
        )
        created = self.world.run(self.world.store.create(asked, queue_cap=cap))
        verdict = self.saw("create", self.model.create(new, reject=reject, cap=cap))
        assert created.verdict.value == {"admitted": "created", "queued": "created"}.get(verdict, verdict)
        if verdict in ("admitted", "queued"):
            assert created.execution is not None
            self.known[new.id] = Known(handle=created.execution.handle)
            self.touched.append(new)

    def create(self, draw: Draw) -> None:
        how = draw(st.sampled_from(["", "key", "reject", "cap", "taken", "waits in vain"]))
        taken = self.model.rows[0].id if how == "taken" and self.model.rows else ""
        profile = {"wait": 15.0} if how == "waits in vain" else draw(profiles)
        pending = sum(row.phase == "PENDING" for row in self.model.rows)
        cap = max(1, pending) if how == "cap" else 0
        self.add(
            profile, key="k1" if how == "key" else "", reject=how == "reject", cap=cap, id=taken, tries=draw(attempts)
        )
        if how == "waits in vain" and "wait" in self.model.rows[-1].due:
            self.set_time(self.model.rows[-1].due["wait"])
            self.sweep(SELDOM_S)

    def delete_what_is_over(self) -> None:
        for row in [row for row in self.model.rows if row.over]:
            self.touched.append(row)
            self.world.run(self.world.store.delete(row.id))
            self.saw("delete", self.model.delete(row))

    def dispatch(self, row: Modelled) -> None:
        self.touched.append(row)
        self.world.run(self.world.store.dispatched(row.id))
        self.saw("dispatched", self.model.dispatched(row))

    def ask_to_cancel(self, row: Modelled) -> None:
        self.world.run(self.world.store.request_cancel(row.id, "tester"))
        self.saw("cancel", self.model.cancel(row))
        asked = self.world.run(self.world.store.cancels_of(self.owners))
        assert [e.id for e in asked] == [r.id for r in self.model.rows if r.cancelled and not r.over]
        self.touch_open()

    def fail(self, draw: Draw) -> None:
        row = self.row(draw(which))
        steps = draw(
            st.sampled_from([frozenset({"thread_started"}), frozenset({"ensure_thread", "execute"}), frozenset[str]()])
        )
        code = draw(st.sampled_from([Code.BAD_MESSAGE, Code.WORKER_LOST]))
        of = max(1, row.attempt - draw(st.sampled_from([0, 0, 1])))
        self.fails(row, code, steps, of)

    def fails(self, row: Modelled, code: Code, steps: frozenset[str], attempt: int) -> None:
        only = frozenset(STEPS[step] for step in steps)
        failed = self.world.run(self.world.store.fail(row.id, code, {}, only_steps=only, attempt=attempt))
        verdict = self.saw("fail", self.model.fail(row, code.value, steps, attempt))
        assert failed.accepted == (verdict in ("ended", "retried"))
        self.touch_open()

    def told_late(self, draw: Draw) -> None:
        """A failed attempt is reported again while the next one waits or runs."""
        row = self.row(draw(which))
        if row.failed:
            number, code = row.failed[-1]
            self.fails(row, Code(code), frozenset({"execute", "running"}), number)

    def withdraw(self, draw: Draw) -> None:
        if draw(st.booleans()):
            self.add({})
        row = self.model.rows[-1] if draw(st.booleans()) else self.row(draw(which))
        self.touched.append(row)
        removed = self.world.run(self.world.store.withdraw(row.id))
        assert removed == (self.saw("withdraw", self.model.withdraw(row)) == "removed")
        self.touch_open()

    def delete(self, draw: Draw) -> None:
        row = self.row(draw(which))
        removed = self.world.run(self.world.store.delete(row.id))
        assert removed == (self.saw("delete", self.model.delete(row)) == "removed")

    def hello(self, owner: str) -> None:
        self.world.run(self.world.store.hello(incarnation=owner, version="1", queue=self.session, **HELLO))
        self.saw("hello", self.model.hello(owner))

    def works_for_others(self, owner: str, *, at_work: bool) -> None:
        """A beat of a worker whose slots are in use, or free."""
        self.world.run(self.world.store.beat(owner, [], busy=int(at_work)))
        self.saw("beat of a worker", self.model.speaks(owner, at_work=at_work))

    def presence(self, draw: Draw) -> None:
        """Of the worker that runs something, mostly."""
        what = draw(
            st.sampled_from(["disconnected"] * 5 + ["exited", "exited", "hello", "hello", "goodbye", "goodbye"])
        )
        mine = [row.owner for row in self.model.rows if row.owner and not row.over]
        his = mine and what != "exited" and draw(which) < 8
        owner = mine[0] if his else draw(st.sampled_from(self.owners))
        self.touch_open()
        if what == "hello":
            self.hello(owner)
        elif what == "goodbye":
            self.world.run(self.world.store.goodbye(owner))
            self.saw("goodbye", self.model.goodbye(owner))
            if draw(st.booleans()):
                self.disconnect(owner)
        elif what == "exited":
            self.exits(owner)
        else:
            self.disconnect(owner)
            self.is_back(owner, draw(st.sampled_from([LIMITS["lost"], LIMITS["lost"] - 0.5, 0.0])))

    def exits(self, owner: str) -> None:
        ended = self.world.run(self.world.store.exited(owner, "signal 9"))
        lost = self.model.exited(owner)
        assert [e.id for e in ended] == [id for id, _ in lost]
        self.saw("exited", ("retried" if any(again for _, again in lost) else "ended") if lost else "nothing")

    def disconnect(self, owner: str) -> None:
        self.world.run(self.world.store.disconnected(owner, LIMITS["lost"]))
        self.saw("disconnected", self.model.disconnected(owner))

    def is_back(self, owner: str, seconds: float) -> None:
        """In time, or too late; 0: not now."""
        if seconds:
            self.set_time(self.model.now + seconds)
            self.sweep(SELDOM_S)
            self.hello(owner)

    def time_passes(self, draw: Draw) -> None:
        """To around the next deadline, where things are decided; or an outage."""
        until = draw(st.sampled_from(["at"] + ["before"] * 4 + ["a little"] * 3 + ["after", "outage"]))
        row = self.model.next_due()
        due = min(row.due.values()) if row else self.model.now
        moments = {"before": due - 0.5, "at": due, "after": due + 0.5, "outage": self.model.now + 400.0}
        self.set_time(max(moments.get(until, 0.0), self.model.now + (0.0 if until == "at" else 0.5)))
        if until == "outage":
            self.sweep(OFTEN_S)
        elif swept := draw(st.sampled_from([SELDOM_S] * 5 + [OFTEN_S, 0.0])):
            self.sweep(swept)

    def restart(self, draw: Draw) -> None:
        self.world.restart()
        self.saw("server", "restarted")

    def snapshot(self, draw: Draw) -> None:
        written = self.world.run(self.world.store.snapshot_if_due(self.row(0).id))
        self.saw("snapshot", "written" if written else "not_due")
