"""Decides how a run ended, from what happened to it. The result is a value; nothing is sent here."""

import json
from dataclasses import dataclass, field
from typing import Any

from agent_runner.clients.engine.current import BudgetReached
from agent_runner.clients.engine.memory.database_errors import MemoryAway
from agent_runner.clients.engine.turn import MemoryGone
from agent_runner.clients.engine.user_graphs.grouped_errors import errors_in, group_text
from agent_runner.clients.mcp.definition import McpServerError
from agent_runner.clients.models.errors import explain_model_error, passing
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.skills.library import SkillError
from agent_runner.status.failures import Code
from agent_runner.status.log.plain import plain_text
from agent_runner.status.phases import Phase
from agent_runner.status.questions import AnswerError
from agent_runner.tasks.body_errors import REVOKED_BY
from agent_runner.tasks.run.error_origin import origin_of
from agent_runner.tasks.run.stops import ACTIVITY, Stop

MAX_ERROR_CHARS = 8_000


class SetupError(Exception):
    """The run cannot begin, for a reason that trying again does not change. `what`: the part that failed."""

    def __init__(self, text: str, *, code: Code = Code.SYSTEM, what: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.what = what


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a run. `facts` feed the failure table and are masked already."""

    phase: Phase
    code: Code | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    waiting: bool = False
    """It ended with a question to a person."""

    @property
    def facts_json(self) -> str:
        """An error may name a file whose name is not UTF-8, which no message can hold."""
        return plain_text(json.dumps(self.facts, ensure_ascii=False, default=str)) if self.facts else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBack:
    """Not an end: the run stopped at a step boundary, and another worker continues it."""

    reason: str


MEMORY_GONE = (
    "What was said is still shown, but the agent does not know it any more. See that every worker has the same"
    " AGENT_RUNNER_CHECKPOINT_URL as before (a SQLite file is of one machine alone), or restore that database, and send"
    " the message again. To go on without the memory, begin a new session."
)
COMPLETED = Outcome(phase=Phase.COMPLETED)
WAITING = Outcome(phase=Phase.COMPLETED, waiting=True)


def failed(code: Code, **facts: Any) -> Outcome:
    return Outcome(phase=Phase.FAILED, code=code, facts={"activity": ACTIVITY, **facts})


def cancelled(**facts: Any) -> Outcome:
    return Outcome(phase=Phase.CANCELLED, code=Code.CANCELLED, facts={"activity": ACTIVITY, **facts})


def stopped(reason: Stop, *, limit_s: float, open_step: str, **facts: Any) -> Outcome:
    """The end of a run that was told to stop."""
    where = f" (open: {open_step})" if open_step else ""
    match reason:
        case Stop.CANCEL:
            return cancelled(**facts)
        case Stop.REVOKED:
            return cancelled(by=REVOKED_BY, **facts)
        case Stop.TIMED_OUT:
            return failed(Code.START_TO_CLOSE, limit_s=limit_s, open_step=where, **facts)
        case Stop.SHUTDOWN:
            return failed(Code.WORKER_SHUTDOWN, open_step=where, **facts)
        case Stop.FENCED_OUT:
            raise ValueError("a run that is fenced out says nothing about its end")


def broke(error: BaseException, *, began: bool, sandbox: str, **facts: Any) -> Outcome:
    """The end of a run by an exception; `began`: the agent had started. A group of errors ends the run as one of them
    would, as far as all of them would end it alike."""
    if not isinstance(error, BaseExceptionGroup):
        return _broke(error, began=began, sandbox=sandbox, **facts)
    ends = [_broke(one, began=began, sandbox=sandbox, **facts) for one in errors_in(error)]
    first = ends[0].facts
    same = {name: told for name, told in first.items() if all(end.facts.get(name) == told for end in ends)}
    if same.get("transient") and (
        waits := [end.facts["retry_after_s"] for end in ends if "retry_after_s" in end.facts]
    ):
        same["retry_after_s"] = max(waits)
    told = {"original_error": words(error), **(origin_of(error) if "traceback" in first else {})}
    if len({end.code for end in ends}) == 1:
        return Outcome(phase=Phase.FAILED, code=ends[0].code, facts={"what": first.get("what"), **same, **told})
    own = Code.APPLICATION if began else Code.SYSTEM
    return Outcome(phase=Phase.FAILED, code=own, facts={**same, **told})


def _broke(error: BaseException, *, began: bool, sandbox: str, **facts: Any) -> Outcome:
    if isinstance(error, SandboxError):
        return failed(Code.SANDBOX, what=error.kind or sandbox, original_error=words(error), **facts)
    if isinstance(error, SkillError):
        return failed(Code.SKILL, what=error.skill, original_error=words(error), **facts)
    if isinstance(error, McpServerError):
        return failed(error.code, what=error.server, original_error=words(error), **facts)
    if isinstance(error, BudgetReached):
        return failed(Code.BUDGET, original_error=words(error), **facts)
    if isinstance(error, SetupError):
        return failed(error.code, what=error.what, original_error=words(error), **facts)
    if isinstance(error, AnswerError):
        return failed(Code.ANSWER, original_error=words(error), **facts)
    if isinstance(error, MemoryGone):
        return failed(Code.SYSTEM, original_error=words(error), advice=MEMORY_GONE, **facts)
    if isinstance(error, MemoryAway):
        return failed(Code.SYSTEM, original_error=words(error), transient=True, **facts)
    facts |= origin_of(error)
    if explained := explain_model_error(error):
        text, advice = explained
        facts |= passing(error)
        return failed(Code.APPLICATION, original_error=text[:MAX_ERROR_CHARS], advice=advice, **facts)
    code = Code.APPLICATION if began else Code.SYSTEM
    return failed(code, original_error=words(error), **facts)


def words(error: BaseException) -> str:
    """The original text; with the class if the text alone says too little."""
    if isinstance(error, BaseExceptionGroup):
        return group_text(error, _said)[:MAX_ERROR_CHARS]
    text = str(error).strip()
    if not text:
        return type(error).__name__
    if isinstance(error, LookupError | SystemExit | MemoryError):
        text = f"{type(error).__name__}: {text}"
    return text[:MAX_ERROR_CHARS]


def _said(error: BaseException) -> str:
    explained = explain_model_error(error)
    return explained[0] if explained else words(error)
