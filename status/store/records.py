"""The store's records. Durations are seconds; times of day are epoch seconds of the database's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from agent_runner.status.attachments import Attachment
from agent_runner.status.brief import Brief
from agent_runner.status.failures import Code
from agent_runner.status.log.log import State
from agent_runner.status.phases import Phase, Step
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.schedules.schedule import Mark
from agent_runner.status.store.lists.list_filters import ListFilters
from agent_runner.status.timeouts import Timeouts

if TYPE_CHECKING:
    from agent_runner.status.store.run_records import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """An accepted execution, before it has a row. `message` is the user's text; `input` the JSON for other graphs."""

    id: str
    org: str
    session_id: str
    agent_id: str
    name: str
    slug: str
    message: str
    timeouts: Timeouts
    runner_queue: str
    orchestrator_queue: str
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    input: Any = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    """Answers, by the ids of the session's open questions."""
    spoken: bool = True
    """`message` is the user's own text, and not the text of `input` or `answers`."""
    layout: Sequence[Mapping[str, Any]] = ()
    """The places of the blocks, if the message was a list of blocks."""
    attachments: Sequence[Attachment] = ()
    said_with: Sequence[Mapping[str, Any]] = ()
    """The attachments of the user's own message, as a status lists them."""
    before: Sequence[Mapping[str, Any]] = ()
    """Messages before the user's, as payloads of their rows. `after`: messages after it."""
    after: Sequence[Mapping[str, Any]] = ()
    asked: Mapping[str, Any] | None = None
    """What a client of LangGraph's API asks of the run besides its input (`RunRequest.to_json`)."""
    graph: str = ""
    model_name: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The contract's spec and metadata as protobuf JSON, without message and secrets."""
    sealed_env: bytes = b""
    """runtime_env, encrypted."""
    idempotency_key: str = ""
    redriven_from: str = ""
    base_checkpoint_id: str | None = None
    """The checkpoint of the session's memory where it begins; None: the head at the time of its claim."""
    resume_checkpoint_id: str = ""
    """The checkpoint where it continues without new input; WHAT_IS_FOUND: one that a worker finds and the server does
    not know. It is that of the failed step: the session's head, as long as no other execution moves the head."""
    one_shot: bool = False
    """Its session was created for this execution only."""
    multitask: Multitask = Multitask.ENQUEUE
    thread_id: str = ""
    """The id of the session's thread in memory, if the session has none yet. Empty: the worker names it."""
    webhook: tuple[bytes, str] | None = None  # what to call, encrypted, and at which events, with spaces between
    after_s: float = 0.0
    """It may begin only after this many seconds."""
    priority: int = 0  # see `FairTurns`
    fired: Mark | None = None
    """It is made by a schedule, and only if the schedule is as this says."""
    answer_digest: str = ""  # it answers by the token with this digest, and only if that is still good


class CreateVerdict(Enum):
    CREATED = "created"
    KNOWN = "known"
    """The idempotency key was used before; the row is that of the first call."""
    ID_TAKEN = "id_taken"
    SESSION_BUSY = "session_busy"
    QUEUE_FULL = "queue_full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The small facts of one execution: everything but its content."""

    id: str
    handle: int
    org: str
    session_id: str
    agent_id: str
    name: str
    slug: str
    graph: str
    model_name: str
    spec: dict[str, Any]
    phase: Phase
    step: Step
    fence: int
    attempt: int
    retry: RetryPolicy
    resumable: int
    claim_id: str
    owner: str
    """The incarnation of the worker process that runs it; empty when none does."""
    owner_name: str
    runner_seq: int
    last_seq: int
    thread_id: str
    runner_queue: str
    orchestrator_queue: str
    timeouts: Timeouts
    created_at: float
    dispatchable_at: float | None
    dispatched_at: float | None
    claimed_at: float | None
    last_beat_at: float | None
    completed_at: float | None
    cancel_requested_at: float | None
    cancelled_by: str
    progress: dict[str, Any]
    error_code: str
    redriven_from: str
    base_checkpoint_id: str | None
    """The checkpoint of its session's memory where it began; None while it was not claimed."""
    idempotency_key: str
    snapshot_seq: int
    sealed_env: bytes
    spec_version: int  # of the fields that its owner may change; 1 at its creation
    spec_updated_at: float | None
    spec_updated_by: str
    waiting: int  # 1: it ended with questions to a person that no later execution of its session has answered
    multitask: str  # what it did to the executions of its session that had not ended: a `Multitask`
    rolled_back: int  # 1: it and what it did to memory are removed at its end
    not_before: float  # it, or its next attempt, may begin only from then on; 0: at once
    priority: int
    ready_at: float  # since then it waits for its org's turn; 0: it does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    verdict: CreateVerdict
    execution: Execution | None
    superseded: Sequence[Execution] = ()
    """The executions of its session that it cancelled, as they are after that."""
    state: State | None = None


class View(Enum):
    """How much of its content a list shows, and what its limit in bytes does."""

    FULL = "full"
    """All content. A page ends when it reaches the limit."""
    FITTING = "fitting"
    """A page has as many entries as were asked for; the content of those that would not fit is left out."""
    BRIEF = "brief"
    """No content, short fields only. A page ends when it reaches the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The query of a list. The API creates it, the service completes it and narrows it to the caller's orgs. Page sizes
    are rows, 0 means the usual one; a page token is one that the same list gave."""

    org: str = ""
    orgs: Sequence[str] = ()
    """Only of these orgs, where the empty string is the platform; without any: of all orgs."""
    tags: Sequence[str] = ()
    """Entries must have all of these tags."""
    page_size: int = 0
    page_token: str = ""
    page: int = 1
    """Counted from 1, beginning at the token or at the newest entry."""
    view: View = View.FULL
    max_bytes: int | None = None
    """The page ends with the entry that reaches this size; the next token continues after it. See `View`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery(Query):
    phase: Phase | None = None
    session_id: str = ""
    agent: str = ""
    """The agent's id; before the service has looked it up, also its slug."""
    waiting: bool | None = None
    """Only executions that wait for a person, or only those that do not."""
    more: ListFilters = field(default_factory=ListFilters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Newest first. `next_token` is empty on the last page. `total` is counted up to 10,000."""

    executions: Sequence[Execution]
    states: Sequence[State | Brief]
    """The content of each execution at the same moment: its folded state or its `Brief`."""
    next_token: str
    total: int
    page_size: int
    """The entries of a full page: the requested number, within the limits."""


class RunnerVerdict(Enum):
    """The store's answer to a runner's write."""

    OK = "ok"
    CANCEL = "cancel"
    FENCED_OUT = "fenced_out"
    GAP = "gap"
    """The deltas do not continue what is stored; `next` says from where to send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    granted: bool
    refusal: str
    execution: Execution | None
    thread_id: str = ""
    """The session's thread, if an earlier turn created it."""
    done: bool = False
    """The step has ended with this thread."""


WHAT_IS_FOUND = "what is found"
"""Stands for the checkpoint of a run whose worker may have written steps without a report about any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    granted: bool
    refusal: str
    execution: Execution | None
    head_checkpoint_id: str = ""
    sandbox_id: str = ""
    resume: bool = False
    previous_code: str = ""
    """How the execution before it in its session ended."""
    untold_execution_id: str = ""
    """That execution, if the server ended it: its worker may have written more into memory than it reported."""
    go_on_if_found: bool = False
    """If it has, continue from there without new input."""
    rolled_back: Sequence[str] = ()
    """Ids of executions of the session whose checkpoints are to be removed."""
    bundle: "Bundle | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelta:
    """`payload` is JSON text; `value` the same as it was read, if it is at hand, which nobody changes."""

    kind: str
    payload: str
    value: dict[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    verdict: RunnerVerdict
    next: int
    last_seq: int
    execution_id: str
    snapshot_due: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBeat:
    handle: int
    fence: int
    progress: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended, as its owner reports it. `facts` feed the failure table."""

    phase: Phase
    code: Code | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    waiting: bool = False
    """It ended with a question to a person."""
    progress: str = "{}"  # JSON
    used: Mapping[str, float] = field(default_factory=dict)  # of the attempt, for the budget of its org


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """`accepted` is also true for a repeated settle. `promoted` is the next execution of the session, if any."""

    accepted: bool
    execution: Execution | None
    next: int = 0
    promoted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    incarnation: str
    queue: str
    role: str
    hostname: str
    pid: int
    slots: int
    busy: int
    name: str
    version: str
    connected_at: float
    last_seen_at: float
    disconnected_at: float | None
    gone_at: float | None
    """Set by a goodbye or a reported exit."""
    exit_text: str
    loop_lag_s: float
    hung_threads: int
    """Threads of ended runs that have not come back."""
    not_taking: str
    """Why it takes no work; empty while it does."""
    sandbox: str = ""
    """What its commands run in: `isolated`, `a user of its own, ...`, `not isolated: ...`, `none`; or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one sweep did. `ended`: the executions before their end; `retried`: those with another attempt left."""

    ended: Sequence[Execution]
    retried: Sequence[Execution] = ()
    resumed: bool
    """This tick found a gap in the sweeping and granted amnesty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """One batch of executions that were removed by age. `more`: another batch may find others."""

    executions: int = 0
    log_rows: int = 0
    bytes: int = 0
    """The bytes of logs, snapshots and attachments."""
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A removal for a worker: a sandbox, or the checkpoints of a thread that its head does not need (no head: all)."""

    id: int
    session_id: str
    sandbox_id: str = ""
    thread_id: str = ""
    head_checkpoint_id: str = ""


class ResourceKind(Enum):
    """The contract's resources besides executions. The value is the contract's kind name."""

    AGENT = "Agent"
    AGENT_INSTANCE = "AgentInstance"
    SESSION = "Session"
    SKILL = "Skill"
    ENVIRONMENT = "Environment"
    EXECUTION_CONTEXT = "ExecutionContext"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """`body` is the whole resource as protobuf JSON. `parent_id`: an instance's agent, a session's instance."""

    kind: ResourceKind
    id: str
    org: str
    slug: str
    parent_id: str
    created_at: float
    version: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceQuery(Query):
    """A query for resources of one kind."""

    kind: ResourceKind
    parent_id: str = ""
    grandparent: tuple[ResourceKind, str] | None = None
    """The kind of the parents, and the id of the parents' own parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePage:  # as `Page`
    resources: Sequence[Resource]
    next_token: str
    total: int
    page_size: int
