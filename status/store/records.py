"""The store's records. Durations are seconds; times of day are epoch seconds of the database's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from agent_runner.status.attachments import Attachment
from agent_runner.status.log.log import State
from agent_runner.status.phases import Phase, Step
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.schedules.schedule import Mark
from agent_runner.status.timeouts import Timeouts


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
