"""Whose turn is next: how many executions of an org may be on a queue or run at once, and in which order orgs come.

    agent-runner/priority     an annotation of executions and agents, a whole number from -10 to 10; without it 0

Orgs with work take turns by weighted round robin. A turn costs an org 1/weight of the queue's own clock. An org without
work gathers no turns for later: when it comes back it begins at the clock, which is where the last turn began. Inside
an org the higher priority comes first, then the older execution. So a priority moves nobody past another org.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from agent_runner.status.requests.whole_numbers import whole

ANNOTATION = "agent-runner/priority"
LOWEST, HIGHEST = -10, 10
MOST_WEIGHT = 100


class PriorityError(ValueError):
    """The text says what was given and what is allowed."""


def priority_of(agent: Mapping[str, str], execution: Mapping[str, str]) -> int:
    """From the annotations of both: the execution's overrides the agent's. Raises PriorityError."""
    given = execution.get(ANNOTATION) or agent.get(ANNOTATION) or "0"
    try:
        number = int(given) if len(given) <= len(str(LOWEST)) else HIGHEST + 1
    except ValueError:
        number = HIGHEST + 1
    return checked(number, ANNOTATION)


def checked(given: object, where: str) -> int:
    """Raises PriorityError, which begins with `where`."""
    given = whole(given)
    if isinstance(given, bool) or not isinstance(given, int) or not LOWEST <= given <= HIGHEST:
        raise PriorityError(f"{where} must be a whole number from {LOWEST} to {HIGHEST}")
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class FairTurns:
    """The caps; 0: none. Without any cap there are no turns: every execution is published as soon as its session is
    free."""

    queue_published: int = 0
    """Published executions of one queue that no worker has claimed yet."""
    org_published: int = 0
    """The same, of one org on one queue."""
    org_running: int = 0
    """Executions of one org that have had their turn and have not ended, on all queues."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """By org; 1 for others."""

    @property
    def on(self) -> bool:
        return bool(self.queue_published or self.org_published or self.org_running)

    def weight(self, org: str) -> int:
        return self.weights.get(org, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An org on a queue. `ready` executions wait for its turn. `passed`: where on the queue's clock its next turn may
    begin."""

    queue: str
    org: str
    ready: int
    published: int
    passed: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One execution of this org may be published. `began` is the queue's clock from now on."""

    queue: str
    org: str
    began: float
    passed: float


def next_turns(
    turns: FairTurns, standings: Iterable[Standing], running: Mapping[str, int], clocks: Mapping[str, float], most: int
) -> list[Turn]:
    """At most `most` turns, in their order. `running`: by org, on all queues; `clocks`: by queue."""
    queues: dict[str, dict[str, Standing]] = {}
    for one in standings:
        queues.setdefault(one.queue, {})[one.org] = one
    under_way = dict(running)
    found: list[Turn] = []
    for queue, orgs in sorted(queues.items()):
        clock = clocks.get(queue, 0.0)
        while len(found) < most and (turn := _next(turns, orgs, under_way, clock)) is not None:
            clock = max(clock, turn.passed)
            passed = clock + 1 / turns.weight(turn.org)
            found.append(Turn(queue=queue, org=turn.org, began=clock, passed=passed))
            orgs[turn.org] = replace(turn, ready=turn.ready - 1, published=turn.published + 1, passed=passed)
            under_way[turn.org] = under_way.get(turn.org, 0) + 1
    return found


def _next(turns: FairTurns, orgs: Mapping[str, Standing], running: Mapping[str, int], clock: float) -> Standing | None:
    published = sum(one.published for one in orgs.values())
    if turns.queue_published and published >= turns.queue_published:
        return None
    may = [
        one
        for one in orgs.values()
        if one.ready > 0
        and not (turns.org_published and one.published >= turns.org_published)
        and not (turns.org_running and running.get(one.org, 0) >= turns.org_running)
    ]
    return min(may, key=lambda one: (max(clock, one.passed), one.passed, one.org), default=None)
