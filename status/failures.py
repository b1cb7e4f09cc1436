"""The failure table: for each code what happened, how it is detected, what the user reads and what to do next.

The page, the API, the metrics and `docs/architecture/error-propagation.md` are generated from or checked against
`FAILURES`. The quoted phrases are those of the system that this one replaces: users already search for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from agent_runner.status.phases import SHOWN_CHARS, Phase, UnknownName


class Code(Enum):
    SCHEDULE_TO_START = "E101"
    HEARTBEAT = "E102"
    WORKER_LOST = "E103"
    START_TO_CLOSE = "E104"
    SCHEDULE_TO_CLOSE = "E105"
    WORKER_SHUTDOWN = "E106"
    THREAD_BUSY = "E107"
    NOT_REGISTERED = "E201"
    BAD_MESSAGE = "E202"
    APPLICATION = "E301"
    SYSTEM = "E302"
    SKILL = "E303"
    ENVIRONMENT = "E304"
    SANDBOX = "E305"
    ANSWER = "E306"
    MCP_SERVER = "E307"
    BUDGET = "E308"
    CANCELLED = "E401"
    BROKER_UNAVAILABLE = "E501"

    @classmethod
    def known(cls, value: str) -> "Code | None":
        """The code with this value (`E101`); None if there is none."""
        return cls._value2member_map_.get(value)  # type: ignore[return-value]  # a map to members of this class

    @classmethod
    def of(cls, value: str) -> "Code":
        """As `known`. Raises `UnknownName`."""
        if (code := cls.known(value)) is None:
            raise UnknownName(f"{value[:SHOWN_CHARS]!r} is not a failure code")
        return code


class Attempts(Enum):
    """Whether a failed attempt may be followed by another one, if the execution has more than one."""

    NEVER = "never"
    """Another attempt changes nothing, or no attempt had begun."""
    IF_NAMED = "if it is named"
    """The codes of the execution's own policy name it."""
    IF_TRANSIENT = "if its cause passes by itself, or it is named"
    """Its facts say `transient`, or it is named."""
    BY_DEFAULT = "by default"
    """Unless the policy names other codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One row. `says` is a format string that is filled with facts. A clause whose fact is unknown is left out."""

    code: Code
    when: str
    detection: str
    says: str
    next_step: str
    retryable: bool
    """Whether it is worth sending again by hand."""
    attempts: Attempts

    @property
    def category(self) -> str:
        return self.code.name


def _row(
    code: Code,
    *,
    when: str,
    detection: str,
    says: str,
    next_step: str,
    retryable: bool,
    attempts: Attempts = Attempts.NEVER,
) -> tuple[Code, Failure]:
    return code, Failure(
        code=code,
        when=when,
        detection=detection,
        says=says,
        next_step=next_step,
        retryable=retryable,
        attempts=attempts,
    )


FAILURES: dict[Code, Failure] = dict(
    (
        _row(
            Code.SCHEDULE_TO_START,
            when="nobody claimed it in time",
            detection="the sweeper, at publish + schedule-to-start (+ busy-to-start while workers are at work)",
            says="No worker available to execute activity '{activity}' within {limit_s} s on queue '{queue}': {cause}",
            next_step="Start a worker for this queue (agent-runner worker). If all slots were busy, add workers or give"
            " each more slots (AGENT_RUNNER_CONCURRENCY), or let executions wait longer for workers that are at work"
            " (AGENT_RUNNER_BUSY_TO_START_TIMEOUT_S). agent-runner doctor shows which queues have a worker. Usual"
            " causes: no worker runs, the worker failed to start, or it listens on another queue. If it waited for its"
            " org's turn, let the org's other executions end, or raise its caps (AGENT_RUNNER_ORG_RUNNING_MAX).",
            retryable=True,
        ),
        _row(
            Code.HEARTBEAT,
            when="a claimed run went silent",
            detection="the sweeper, at the last beat + the heartbeat timeout",
            says="Activity stopped sending heartbeat (worker may have crashed): activity '{activity}' on {worker} was"
            " last heard {silent_s} s ago{progress}",
            next_step="Look at that worker's log around this time; a stopped process, a dead link or a blocked"
            " interpreter all look like this. A blocked one is ended and replaced by its supervisor soon after, and"
            " worker.silent in the log names the call. Send the message again when the worker is healthy.",
            retryable=True,
            attempts=Attempts.BY_DEFAULT,
        ),
        _row(
            Code.WORKER_LOST,
            when="the process that ran it died or vanished",
            detection="the supervisor's or pool parent's report, at once; else the end of the worker's stream + grace",
            says="The worker process that ran activity '{activity}' is gone ({worker}): {cause}",
            next_step="Redrive it to go on from the open step, or send a new message: the worker is restarted by its"
            " supervisor. If it was signal 9, look for"
            " an out-of-memory kill and lower AGENT_RUNNER_CONCURRENCY or give the worker more memory.",
            retryable=True,
            attempts=Attempts.BY_DEFAULT,
        ),
        _row(
            Code.START_TO_CLOSE,
            when="it ran too long",
            detection="the run's own limit, at claim + start-to-close; the sweeper after the settle grace",
            says="Activity execution timed out: activity '{activity}' failed to end within {limit_s} s{open_step}"
            "{threads}",
            next_step="What it had done until then is kept above. Raise start_to_close_s for this execution, or ask for"
            " less in one message. Threads that have not come back wait in a call without a time limit: give it one.",
            retryable=True,
            attempts=Attempts.IF_NAMED,
        ),
        _row(
            Code.SCHEDULE_TO_CLOSE,
            when="the total time is up",
            detection="the sweeper, at dispatchable + schedule-to-close",
            says="The execution did not end within its total time of {limit_s} s (schedule-to-close); it was in step"
            " '{step}'",
            next_step="Raise schedule_to_close_s, or find out why it waited: agent-runner doctor shows the queues.",
            retryable=True,
        ),
        _row(
            Code.WORKER_SHUTDOWN,
            when="a deploy ended it in the middle of a step and its attempts are used up",
            detection="the worker, when the drain time has passed",
            says="The worker was shut down while activity '{activity}' was in the middle of a step{open_step}, and no"
            " attempt is left{threads}",
            next_step="Redrive it to go on from the open step. Raise AGENT_RUNNER_DRAIN_TIMEOUT_S if single steps take"
            " longer.",
            retryable=True,
            attempts=Attempts.BY_DEFAULT,
        ),
        _row(
            Code.THREAD_BUSY,
            when="it waited too long for its session",
            detection="the sweeper, at create + thread wait",
            says="The session was busy for {limit_s} s with {blocker}",
            next_step="Wait for the execution in front or cancel it, then send the message again.",
            retryable=True,
        ),
        _row(
            Code.NOT_REGISTERED,
            when="the worker does not know the task",
            detection="the worker's task_unknown signal",
            says="The worker on queue '{queue}' does not know activity '{activity}'. It knows: {registered}",
            next_step="Server and worker are of different versions, or the queue is shared with another application."
            " Deploy the same version of both.",
            retryable=False,
        ),
        _row(
            Code.BAD_MESSAGE,
            when="the message cannot be decoded or has wrong arguments",
            detection="the worker, on receipt; attributed by the message's headers",
            says="The message for activity '{activity}' could not be used: {cause}",
            next_step="Something else writes to this queue, or server and worker are of different versions.",
            retryable=False,
        ),
        _row(
            Code.APPLICATION,
            when="the agent, a tool or the model failed",
            detection="the run, at once",
            says="❌ Error: Execution failed: {original_error}",
            next_step="{advice}",
            retryable=True,
            attempts=Attempts.IF_TRANSIENT,
        ),
        _row(
            Code.SYSTEM,
            when="set-up failed before the agent ran",
            detection="the run, at once",
            says="System error: activity '{activity}' failed before the agent ran. Original error: {original_error}",
            next_step="{advice}",
            retryable=True,
            attempts=Attempts.IF_TRANSIENT,
        ),
        _row(
            Code.SKILL,
            when="a skill could not be set up",
            detection="the run, at once",
            says="Skill '{what}' could not be set up. Original error: {original_error}",
            next_step="Check that the skill exists in this version and that its archive can be read.",
            retryable=False,
        ),
        _row(
            Code.ENVIRONMENT,
            when="an environment could not be resolved",
            detection="the run, at once",
            says="Environment '{what}' could not be resolved. Original error: {original_error}",
            next_step="Check that the environment exists and that AGENT_RUNNER_SECRET_KEY did not change.",
            retryable=False,
        ),
        _row(
            Code.SANDBOX,
            when="the sandbox could not be set up",
            detection="the run, at once",
            says="The {what} sandbox could not be set up. Original error: {original_error}",
            next_step="agent-runner doctor tells what the sandbox is missing.",
            retryable=True,
            attempts=Attempts.IF_NAMED,
        ),
        _row(
            Code.ANSWER,
            when="the session waits for an answer, and what was sent is none",
            detection="the run, before the agent goes on",
            says="The question is still open: {original_error}",
            next_step="Send the answer in the form that the question expects, by its id where several are open:"
            " agent-runner executions answer --session SESSION lists them.",
            retryable=False,
        ),
        _row(
            Code.MCP_SERVER,
            when="an MCP server of the agent could not be used",
            detection="the run, before the agent's first step",
            says="MCP server '{what}' could not be used. Original error: {original_error}",
            next_step="Correct the agent's mcp_servers, or start what it names: docs/guides/mcp.md says what each cause"
            " needs.",
            retryable=True,
            attempts=Attempts.IF_NAMED,
        ),
        _row(
            Code.BUDGET,
            when="it used up its budget",
            detection="the run, before the call that would exceed it",
            says="The budget of this execution is used up: {original_error}",
            next_step="What it had done until then is kept above. If it did useful work, raise agent-runner/budget of"
            " the agent; if it did the same again and again, change its instructions.",
            retryable=True,
        ),
        _row(
            Code.CANCELLED,
            when="the user cancelled it",
            detection="the run, at once; the sweeper after the cancel timeout",
            says="Cancelled by {by}{threads}",
            next_step="Send the message again if that was not intended.",
            retryable=True,
        ),
        _row(
            Code.BROKER_UNAVAILABLE,
            when="it could not be put on the queue",
            detection="create, within 5 s",
            says="The message broker did not take the message, so the execution was not accepted: {cause}",
            next_step="Try again; nothing was stored. agent-runner doctor shows the broker's state.",
            retryable=True,
        ),
    )
)

_DEFAULTS: Mapping[str, str] = {
    "activity": "ExecuteGraphton",
    "queue": "agent_execution_runner",
    "cause": "the cause is not known",
    "worker": "an unknown worker",
    "progress": "",
    "open_step": "",
    "threads": "",
    "step": "unknown",
    "blocker": "another execution",
    "registered": "nothing",
    "original_error": "the cause is not known",
    "advice": "Read the original error; send the message again when its cause is gone.",
    "what": "unknown",
    "by": "the user",
    "limit_s": "?",
    "silent_s": "?",
}

RETRIED_CODES = tuple(code for code, failure in FAILURES.items() if failure.attempts is not Attempts.NEVER)
"""What a policy of attempts may name."""

METADATA_FACTS = (
    "attempt", "worker", "last_heartbeat", "original_error", "next",
    "error_class", "error_node", "error_at", "traceback",
)  # fmt: skip
"""Facts that are copied to the SYSTEM message's metadata where they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureText:
    """A failure as the user sees it. `error` is the execution's `status.error`; `metadata` is the SYSTEM message's."""

    phase: Phase
    code: Code
    error: str
    text: str
    next_step: str
    metadata: dict[str, Any]


def describe(code: Code, facts: Mapping[str, Any]) -> FailureText:
    """Describe a failure. `facts` are the values known about this case: strings and numbers, all optional."""
    failure = FAILURES[code]
    known = {**_DEFAULTS, **{k: _plain(v) for k, v in facts.items() if v is not None}}
    text = failure.says.format_map(known)
    next_step = failure.next_step.format_map(known)
    metadata: dict[str, Any] = {"error_code": code.value, "category": failure.category, "next_step": next_step}
    metadata |= {name: facts[name] for name in METADATA_FACTS if facts.get(name) is not None}
    return FailureText(
        phase=Phase.CANCELLED if code is Code.CANCELLED else Phase.FAILED,
        code=code,
        error=f"{text} [{code.value} {failure.category}]",
        text=text,
        next_step=next_step,
        metadata=metadata,
    )


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
