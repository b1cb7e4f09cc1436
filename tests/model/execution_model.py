"""An independent model of executions, written from the design and never imported by the product.

It knows what must happen to one session's executions under any order of calls, and nothing of SQL. Every verb answers
with a word; which words there are for which verb is `VERDICTS` of the test that counts them.
"""

from dataclasses import dataclass, field

from tests.model.modelled_execution import (
    CLOCKS,
    CODE_OF,
    FOREVER,
    LONGEST_PAUSE,
    PAUSE,
    RESEND,
    RETRIED,
    YIELDS_TO_CANCEL,
    Modelled,
    Swept,
)


@dataclass
class Model:
    """One session. `now` is moved by the test."""

    now: float
    swept_at: float
    rows: list[Modelled] = field(default_factory=list)
    thread: str = ""
    head: str = ""
    seen: dict[str, bool] = field(default_factory=dict)
    """Workers that ever said hello: are they still there?"""
    heard: dict[str, tuple[bool, float]] = field(default_factory=dict)
    """Of the same: were they at work when they last said how they are, and when were they last heard?"""

    # the server

    def create(self, new: Modelled, *, reject: bool, cap: int) -> str:
        if new.key and any(row.key == new.key for row in self.rows):
            return "known"
        if cap and sum(row.phase == "PENDING" for row in self.rows) >= cap:
            return "queue_full"
        busy = any(not row.over for row in self.rows)
        if busy and reject:
            return "session_busy"
        if any(row.id == new.id for row in self.rows):
            return "id_taken"
        self.rows.append(new)
        if busy:
            new.due["wait"] = self.now + new.limits["wait"]
            return "queued"
        self._admit(new)
        new.send_at = self.now + RESEND
        return "admitted"

    def _admit(self, row: Modelled) -> None:
        row.step, row.send_at = "ensure_thread", self.now
        row.due = {"total": self.now + row.limits["total"]}

    def dispatched(self, row: Modelled) -> str:
        if not row.to_start:
            return "too_late"
        if row.stamped is not None:
            return "resent"
        self._stamp(row)
        return "stamped"

    def _stamp(self, row: Modelled) -> None:
        row.stamped = self.now
        row.send_at = self.now + row.limits["start"] / 3
        row.due["start"] = self.now + row.limits["start"]

    def due_for_dispatch(self) -> list[str]:
        found = [row for row in self.rows if row.to_start and row.send_at <= self.now]
        for row in found:
            if row.stamped is None:
                row.send_at = self.now + RESEND
            else:
                last = row.stamped + row.limits["start"] * (2 / 3)
                row.send_at = last if last > self.now else FOREVER
        return [row.id for row in found]

    def cancel(self, row: Modelled) -> str:
        if row.over:
            return "over"
        if row.step != "running":
            self._end(row, "CANCELLED", "E401")
            return "at_once"
        if row.cancelled:
            return "asked_again"
        row.cancelled = True
        row.due["cancel"] = self.now + row.limits["cancel"]
        return "asked"

    def fail(self, row: Modelled, code: str, steps: frozenset[str], attempt: int) -> str:
        """No steps: any. `attempt`: the one whose task failed."""
        if row.over:
            return "over"
        if steps and row.step not in steps:
            return "other_step"
        now = row.attempt if row.step == "running" or row.resumable else row.attempt + 1
        if now > attempt:
            return "other_attempt"
        return "retried" if self._end(row, "FAILED", code) else "ended"

    def withdraw(self, row: Modelled) -> str:
        if row.step not in ("waiting", "ensure_thread") or row.stamped is not None or row.attempt:
            return "refused"
        self.rows.remove(row)
        self._next()
        return "removed"

    def delete(self, row: Modelled) -> str:
        if not row.over:
            return "refused"
        self.rows.remove(row)
        return "removed"

    # a worker

    def _in_time(self, row: Modelled) -> bool:
        """Who was at work may come later."""
        start = row.due.get("start", FOREVER)
        until = start if start == FOREVER or row.stamped is None else max(start, row.stamped + row.limits["busy"])
        return until > self.now

    def begin(self, row: Modelled, token: str, owner: str) -> str:
        if row.step == "ensure_thread" and self._in_time(row) and self.now >= row.not_before:
            row.step, row.begin_id, row.owner, row.send_at = "thread_started", token, owner, FOREVER
            row.due.pop("start", None)
            row.due["thread"] = self.now + row.limits["thread"]
            return "granted"
        if row.step == "ensure_thread":
            return "late"
        return "again" if row.step == "thread_started" and row.begin_id == token else "refused"

    def done(self, row: Modelled, token: str, thread: str) -> str:
        if row.step == "thread_started" and row.begin_id == token:
            row.step, row.owner = "execute", ""
            for clock in ("thread", "lost"):
                row.due.pop(clock, None)
            self._stamp(row)
            self.thread = self.thread or thread
            return "stored"
        again = row.step in ("execute", "running") and row.begin_id == token
        return "again" if again else "refused"

    def claim(self, row: Modelled, token: str, owner: str) -> str:
        if row.step == "execute":
            if not self._in_time(row) or row.due["total"] <= self.now:
                return "late"
            if row.not_before > self.now:
                return "not_yet"
            row.step, row.phase, row.claim_id, row.owner = "running", "IN_PROGRESS", token, owner
            row.fence += 1
            row.attempt += 0 if row.resumable else 1
            row.base = self.head if row.base is None else row.base
            row.due.pop("start", None)
            row.send_at = FOREVER
            row.due["beat"] = self.now + row.limits["beat"]
            row.due["run"] = self.now + row.limits["run"] + row.limits["grace"]
            return "resumed" if row.resumable else "granted"
        if row.step == "running":
            return "again" if row.claim_id == token else "taken"
        return "over" if row.over else "too_early"

    def _owns(self, row: Modelled, fence: int) -> bool:
        return row.step == "running" and row.fence == fence

    def append(self, row: Modelled, fence: int, first: int, said: list[str], head: str) -> str:
        if not self._owns(row, fence):
            return "fenced_out"
        if first == row.numbers:
            self._store(row, said, head)
            return "cancel" if row.cancelled else "ok"
        return "again" if row.numbers >= first + len(said) else "gap"

    def _store(self, row: Modelled, said: list[str], head: str) -> None:
        row.numbers += len(said)
        row.text += "".join(said)
        self.head = head or self.head

    def beat(self, row: Modelled, fence: int) -> str:
        self.speaks(row.owner, at_work=False)
        if not self._owns(row, fence):
            return "fenced_out"
        row.due["beat"] = self.now + row.limits["beat"]
        return "cancel" if row.cancelled else "ok"

    def settle(self, row: Modelled, fence: int, first: int, said: list[str], head: str, end: tuple[str, str]) -> str:
        if self._owns(row, fence):
            if first != row.numbers:
                return "gap"
            self._store(row, said, head)
            end = ("CANCELLED", "E401") if end[0] == "CANCELLED" else end
            if self._end(row, *end, by=fence):
                return "retried"
            return "yielded" if (row.phase, row.code) != end else "accepted"
        settled = 0 < fence == row.settled_by and (row.over or not row.resumable)
        return "again" if settled else "fenced_out"

    def hand_back(self, row: Modelled, fence: int, first: int, said: list[str], head: str) -> str:
        if not self._owns(row, fence):
            return "again" if 0 < fence == row.settled_by else "fenced_out"
        if first != row.numbers:
            return "gap"
        if row.cancelled:
            return "cancel"
        self._store(row, said, head)
        row.step, row.owner, row.resumable, row.stamped, row.settled_by = "execute", "", True, None, fence
        row.fence += 1
        row.send_at = self.now
        for clock in ("beat", "lost", "run"):
            row.due.pop(clock, None)
        return "accepted"

    # who is alive

    def hello(self, owner: str) -> str:
        self.seen[owner] = True
        self.heard[owner] = (self.heard.get(owner, (False, 0.0))[0], self.now)
        lost = [row.due.pop("lost") for row in self._owned(owner) if "lost" in row.due]
        return "saved" if lost else "came"

    def speaks(self, owner: str, *, at_work: bool) -> str:
        """A beat about the worker itself; nobody knows those that never said hello."""
        if owner not in self.seen:
            return "unknown"
        self.heard[owner] = (at_work, self.now)
        return "at_work" if at_work else "idle"

    def goodbye(self, owner: str) -> str:
        if owner in self.seen:
            self.seen[owner] = False
        return "left"

    def disconnected(self, owner: str) -> str:
        owned = self._owned(owner)
        if not self.seen.get(owner):
            return "proves_nothing" if owned else "ignored"
        for row in owned:
            row.due["lost"] = self.now + row.limits["lost"]
        return "counts" if owned else "noted"

    def exited(self, owner: str) -> list[tuple[str, bool]]:
        """The runs that were lost with it and with the children of its pool, and whether they are tried again."""
        family = {row.owner for row in self.rows if row.owner == owner or row.owner.startswith(f"{owner}.")}
        for gone in [o for o in self.seen if o == owner or o.startswith(f"{owner}.")]:
            self.seen[gone] = False
        lost = [row for member in family for row in self._owned(member)]
        return [(row.id, self._end(row, "FAILED", "E103")) for row in lost]

    def _owned(self, owner: str) -> list[Modelled]:
        return [r for r in self.rows if owner and r.owner == owner and r.step in ("thread_started", "running")]

    # time

    def sweep(self, gap: float) -> Swept:
        swept = Swept(resumed=self.swept_at < self.now - gap)
        if swept.resumed:
            self._amnesty()
        self.swept_at = self.now
        while (row := self.next_due()) and min(row.due.values()) <= self.now:
            if self._waits_on(row):
                swept.waiting_on += 1
                continue
            clock = min((c for c in CLOCKS if c in row.due), key=lambda c: (row.due[c], c != "cancel"))
            if self._end(row, "CANCELLED" if clock == "cancel" else "FAILED", CODE_OF[clock]):
                swept.retried.append(row.id)
                continue
            swept.ended.append(row.id)
            swept.codes.append(row.code)
        return swept

    def _waits_on(self, row: Modelled) -> bool:
        """While workers are at work, and a schedule-to-start after one was heard, but no longer than the row says."""
        passed = [clock for clock, due in row.due.items() if due <= self.now]
        if passed != ["start"] or row.stamped is None or row.limits["busy"] <= row.limits["start"]:
            return False
        heard = max((at for at_work, at in self.heard.values() if at_work), default=0.0)
        due = min(heard + row.limits["start"], row.stamped + row.limits["busy"])
        if due <= self.now:
            return False
        row.due["start"] = due
        again = self.now + row.limits["start"] / 3
        row.send_at = again if again < due else FOREVER
        return True

    def next_due(self) -> Modelled | None:
        """Whose deadline comes first."""
        open_ = [row for row in self.rows if not row.over]
        return min(open_, key=lambda row: min(row.due.values()), default=None)

    def _amnesty(self) -> None:
        grace = {"thread", "run", "total", "cancel"}
        for row in self.rows:
            if row.over:
                continue
            for clock in row.due.keys() - {"wait"}:
                fresh = row.limits["grace" if clock in grace else clock]
                row.due[clock] = max(row.due[clock], self.now + fresh)
            row.send_at = max(self.now, row.not_before) if row.to_start else row.send_at

    # the end

    def _end(self, row: Modelled, phase: str, code: str, by: int = 0) -> bool:
        """True: it is not over, because it has another attempt."""
        if phase == "FAILED" and self._again(row, code, by):
            return True
        if row.cancelled and code in YIELDS_TO_CANCEL:
            phase, code = "CANCELLED", "E401"
        row.step, row.phase, row.code, row.settled_by, row.due = "settled", phase, code, by, {}
        row.send_at = FOREVER
        row.fence += 1
        self._next()
        return False

    def _again(self, row: Modelled, code: str, by: int) -> bool:
        """Its place in the session, and the clock of the whole, stay with it; all of the attempt ends."""
        begun = row.step == "thread_started"
        attempt = row.attempt + begun
        at = self.now + min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
        wanted = code in RETRIED and row.step in ("thread_started", "running") and attempt < row.attempts
        if not wanted or row.cancelled or row.due["total"] <= at:
            return False
        row.failed.append((attempt, code))
        if begun:  # no claim has counted it
            row.step, row.attempt, row.begin_id = "ensure_thread", attempt, ""
        else:
            row.step, row.resumable, row.settled_by = "execute", False, by
            row.fence += 1
        row.owner, row.stamped = "", None
        row.send_at = row.not_before = at
        for clock in ("beat", "lost", "run", "thread"):
            row.due.pop(clock, None)
        return True

    def _next(self) -> None:
        """The session's oldest waiting execution gets its turn if nobody else has it."""
        if all(row.step in ("waiting", "settled") for row in self.rows):
            for row in self.rows:
                if row.step == "waiting":
                    return self._admit(row)
        return None
