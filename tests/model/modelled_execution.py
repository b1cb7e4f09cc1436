"""What the model knows of one execution, and the numbers that it reckons with."""

from dataclasses import dataclass, field

FOREVER = float("inf")
CLOCKS = ("cancel", "wait", "start", "thread", "beat", "lost", "run", "total")
"""In this order where two deadlines are the same moment: after an amnesty, what the user asked for is the reason."""
LIMITS = {
    "wait": 3600.0,
    "start": 60.0,
    "busy": 0.0,
    "thread": 105.0,
    "beat": 30.0,
    "lost": 3.0,
    "run": 600.0,
    "total": 900.0,
    "cancel": 10.0,
    "grace": 5.0,
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
RESEND = 10.0
RETRIED = {"E102", "E103", "E106"}
"""What another attempt follows, where the policy names no codes."""
PAUSE, LONGEST_PAUSE = 2.0, 3.0


@dataclass
class Modelled:
    id: str
    limits: dict[str, float]
    key: str = ""
    step: str = "waiting"
    phase: str = "PENDING"
    fence: int = 0
    attempt: int = 0
    attempts: int = 1
    """How many it may have."""
    not_before: float = 0.0
    numbers: int = 0
    """How many deltas its owners have stored."""
    text: str = ""
    """What they said."""
    code: str = ""
    cancelled: bool = False
    stamped: float | None = None
    send_at: float = FOREVER
    resumable: bool = False
    base: str | None = None
    """The session's head at its first claim: the same claim again, and the next attempt, begin there."""
    begin_id: str = ""
    claim_id: str = ""
    owner: str = ""
    settled_by: int = 0
    due: dict[str, float] = field(default_factory=dict)
    failed: list[tuple[int, str]] = field(default_factory=list)
    """The attempts that another one followed, with their codes."""

    @property
    def over(self) -> bool:
        return self.step == "settled"

    @property
    def to_start(self) -> bool:
        return self.step in ("ensure_thread", "execute")


@dataclass
class Swept:
    ended: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    waiting_on: int = 0
    """How often a step was left to wait for busy workers."""
    resumed: bool = False
