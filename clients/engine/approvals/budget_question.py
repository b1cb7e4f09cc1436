"""The question to a person where a budget is used up and the agent is to ask (`"reached": "ask"`)."""

from collections.abc import Mapping
from typing import Any

from langgraph.config import get_config
from langgraph.types import Interrupt, interrupt

from agent_runner.clients.engine.current import CurrentRun

GO_ON, STOP = "go on", "stop"
_YES = frozenset({GO_ON, "yes", "y", "ok", "continue", "approve"})


def is_budget_question(question: Mapping[str, Any]) -> bool:
    """Whether this open question (`status/questions.py`) is about a budget."""
    value = question.get("value")
    return isinstance(value, dict) and "budget" in value


def stopped_by_a_person(run: CurrentRun, over: str) -> str:
    """Ask if a limit is reached (`over`), or if this very call asked before the run. Returns the agent's last words if
    the person says no; empty if the call may be made. Does not return where the question has no answer yet."""
    if not over and _asked_as() not in run.budget_questions:
        return ""
    question = f"The budget of this execution is used up: {over}. May it go on with as much again?"
    answer = interrupt({"budget": over, "question": question, "options": [GO_ON, STOP]})
    if isinstance(answer, str) and answer.strip().lower().rstrip(".!") in _YES:
        return ""
    return "I have stopped: the budget was used up, and I was told not to go on."


def _asked_as() -> str:
    """The id that a question of the current step has."""
    return Interrupt.from_ns(None, str((get_config().get("configurable") or {}).get("checkpoint_ns", ""))).id
