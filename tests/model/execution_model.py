"""An independent model of executions, written from the design and never imported by the product.

It knows what must happen to one session's executions under any order of calls, and nothing of SQL.
"""

from dataclasses import dataclass, field

FOREVER = float("inf")
LIMITS = {
    "start": 60.0,
    "beat": 30.0,
    "run": 600.0,
    "total": 900.0,
    "wait": 3600.0,
    "cancel": 10.0,
    "grace": 5.0,
    "lost": 3.0,
    "thread": 105.0,
}
CODE_OF = {
    "wait": "E107",
    "start": "E101",
    "thread": "E102",
    "beat": "E102",
    "lost": "E103",
    "run": "E104",
    "total": "E105",
    "cancel": "E401",
}
YIELDS_TO_CANCEL = {"E102", "E103", "E104", "E106"}


@dataclass
class Modelled:
    id: str
    place: int
    step: str = "waiting"
    phase: str = "PENDING"
    fence: int = 0
    attempt: int = 0
    numbers: int = 0
    """How many deltas its owners have stored."""
    code: str = ""
    cancelled: bool = False
    stamped: bool = False
    resumable: bool = False
    begin_id: str = ""
    claim_id: str = ""
    owner: str = ""
    settled_by: int = 0
    due: dict[str, float] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.step == "settled"


@dataclass
class Model:
    """One session. `now` is moved by the test; every verb answers what the store must answer."""

    now: float
    swept_at: float = -FOREVER
    rows: list[Modelled] = field(default_factory=list)

    def create(self, id: str) -> None:
        row = Modelled(id=id, place=len(self.rows))
        busy = any(not other.over for other in self.rows)
        self.rows.append(row)
        if busy:
            row.due["wait"] = self.now + LIMITS["wait"]
        else:
            self._admit(row)

    def _admit(self, row: Modelled) -> None:
        row.step = "ensure_thread"
        row.due = {"total": self.now + LIMITS["total"]}

    def dispatched(self, row: Modelled) -> None:
        if row.step in ("ensure_thread", "execute") and not row.stamped:
            row.stamped = True
            row.due["start"] = self.now + LIMITS["start"]

    def begin(self, row: Modelled, token: str, owner: str) -> bool:
        if row.step == "ensure_thread" and row.due.get("start", FOREVER) > self.now:
            row.step, row.begin_id, row.owner = "thread_started", token, owner
            row.due.pop("start", None)
            row.due["thread"] = self.now + LIMITS["thread"]
            return True
        return row.step == "thread_started" and row.begin_id == token

    def done(self, row: Modelled, token: str) -> bool:
        if row.step == "thread_started" and row.begin_id == token:
            row.step, row.owner, row.stamped = "execute", "", True
            for clock in ("thread", "lost"):
                row.due.pop(clock, None)
            row.due["start"] = self.now + LIMITS["start"]
            return True
        return not row.over and row.begin_id == token and row.step in ("execute", "running")

    def claim(self, row: Modelled, token: str, owner: str) -> bool:
        open_ = row.due.get("start", FOREVER) > self.now and row.due.get("total", FOREVER) > self.now
        if row.step == "execute" and open_:
            row.step, row.phase, row.claim_id, row.owner = "running", "IN_PROGRESS", token, owner
            row.fence += 1
            row.attempt += 0 if row.resumable else 1
            row.due.pop("start", None)
            row.due["beat"] = self.now + LIMITS["beat"]
            row.due["run"] = self.now + LIMITS["run"] + LIMITS["grace"]
            return True
        return row.step == "running" and row.claim_id == token

    def owns(self, row: Modelled, fence: int) -> bool:
        return row.step == "running" and row.fence == fence

    def append(self, row: Modelled, fence: int, first: int, count: int) -> str:
        if not self.owns(row, fence):
            return "fenced_out"
        if first == row.numbers:
            row.numbers += count
            return "cancel" if row.cancelled else "ok"
        return "ok" if row.numbers >= first + count else "gap"

    def beat(self, row: Modelled, fence: int) -> str:
        if not self.owns(row, fence):
            return "fenced_out"
        row.due["beat"] = self.now + LIMITS["beat"]
        return "cancel" if row.cancelled else "ok"

    def settle(self, row: Modelled, fence: int, first: int, count: int, phase: str, code: str) -> bool:
        if self.owns(row, fence) and first == row.numbers:
            row.numbers += count
            self._end(row, phase, code, by=fence)
            return True
        return row.over and 0 < fence == row.settled_by

    def hand_back(self, row: Modelled, fence: int, first: int) -> bool:
        if self.owns(row, fence) and first == row.numbers and not row.cancelled:
            row.step, row.owner, row.resumable, row.stamped, row.settled_by = "execute", "", True, False, fence
            row.fence += 1
            for clock in ("beat", "lost", "run"):
                row.due.pop(clock, None)
            return True
        return 0 < fence == row.settled_by

    def cancel(self, row: Modelled) -> None:
        if row.over:
            return
        if row.step != "running":
            self._end(row, "CANCELLED", "E401")
        elif not row.cancelled:
            row.cancelled = True
            row.due["cancel"] = self.now + LIMITS["cancel"]

    def fail(self, row: Modelled, code: str) -> bool:
        if row.over:
            return False
        self._end(row, "FAILED", code)
        return True

    def disconnected(self, owner: str) -> None:
        for row in self._owned(owner):
            row.due["lost"] = self.now + LIMITS["lost"]

    def hello(self, owner: str) -> None:
        for row in self._owned(owner):
            row.due.pop("lost", None)

    def exited(self, owner: str) -> None:
        for row in self._owned(owner):
            self._end(row, "FAILED", "E103")

    def _owned(self, owner: str) -> list[Modelled]:
        return [r for r in self.rows if r.owner == owner and r.step in ("thread_started", "running")]

    def sweep(self, gap: float) -> None:
        if self.swept_at > -FOREVER and self.swept_at < self.now - gap:
            self._amnesty()
        self.swept_at = self.now
        while due := [r for r in self.rows if not r.over and min(r.due.values()) <= self.now]:
            row = min(due, key=lambda r: min(r.due.values()))
            clock = min(row.due, key=lambda name: row.due[name])
            self._end(row, "CANCELLED" if clock == "cancel" else "FAILED", CODE_OF[clock])

    def _amnesty(self) -> None:
        fresh = {
            "beat": LIMITS["beat"],
            "start": LIMITS["start"],
            "lost": LIMITS["lost"],
            "thread": LIMITS["grace"],
            "run": LIMITS["grace"],
            "total": LIMITS["grace"],
            "cancel": LIMITS["grace"],
        }
        for row in self.rows:
            if not row.over:
                row.due = {k: max(v, self.now + fresh[k]) if k in fresh else v for k, v in row.due.items()}

    def _end(self, row: Modelled, phase: str, code: str, by: int = 0) -> None:
        if row.cancelled and code in YIELDS_TO_CANCEL:
            phase, code = "CANCELLED", "E401"
        row.step, row.phase, row.code, row.settled_by, row.due = "settled", phase, code, by, {}
        row.fence += 1
        waiting = [r for r in self.rows if r.step == "waiting"]
        if waiting and not any(r.step not in ("waiting", "settled") for r in self.rows):
            self._admit(waiting[0])
