"""Agents that do what they are told: the user's message is a script, and so is what a sub-agent is asked.

A script is JSON: `{"id": "s1", "steps": [...]}`, a step is what the model says once:
`{"text": ..., "calls": [{"id", "name", "args"}], "dies": 0, "then": ""|"edit"|"take_back"|"redact"|"forget"}`.
`dies`: so many attempts at it break off in the middle; it is tried twice. `then`: what a middleware does to it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from deepagents import create_deep_agent
from langchain.agents.middleware import AgentMiddleware, ModelRetryMiddleware, ToolRetryMiddleware
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import interrupt

from agent_runner.clients.engine.approvals.tool_approvals import ToolApprovals
from agent_runner.clients.engine.middleware import RunGuard
from agent_runner.status.requests.approvals import rules_of
from tests.unit.status_builder.runs import add, fail
from tests.unit.status_builder.scripted_model import ScriptedModel, said

DEPTH = 3
"""How deep sub-agents may have sub-agents."""
DEPUTIES = ("deputy", "other")
TRIES: Counter[str] = Counter()
"""How often each breaking step, and each flaky call, was tried."""
FINAL: dict[str, list[BaseMessage]] = {}
"""The messages of each agent's state at its end, by the id of its script: what LangGraph itself has."""
SAVER = InMemorySaver()


def script_of(messages: Sequence[BaseMessage]) -> tuple[dict[str, Any], int]:
    """The script that an agent follows, and how many of its steps are done."""
    at = max(i for i, m in enumerate(messages) if isinstance(m, HumanMessage) and str(m.text).startswith("{"))
    done = 0
    for message in messages[at + 1 :]:
        if isinstance(message, AIMessage):
            summary = re.match(r"\S+ summary of (\d+)$", str(message.text))
            done = int(summary[1]) if summary else done + 1
    return json.loads(str(messages[at].text)), done


def next_step(messages: list[BaseMessage]) -> AIMessage:
    script, done = script_of(messages)
    if done >= len(script["steps"]):
        return said(f"{script['id']} is done")
    step = script["steps"][done]
    return said(step["text"], *((call["id"], call["name"], call["args"]) for call in step["calls"]))


class Obedient(ScriptedModel):
    """Breaks off in the middle of the first attempts at a step that `dies`."""

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        script, done = script_of(messages)
        dies = script["steps"][done]["dies"] if done < len(script["steps"]) else 0
        key = f"{script['id']}.{done}"
        TRIES[key] += 1
        for number, chunk in enumerate(super()._chunks(messages)):
            if TRIES[key] <= dies and number == 1:
                raise ConnectionError("the model went away")
            yield chunk


@tool
def flaky(key: str, times: int) -> str:
    """Fail so many times, then work."""
    TRIES[key] += 1
    if TRIES[key] <= times:
        raise TimeoutError(f"try {TRIES[key]}")
    return f"worked at try {TRIES[key]}"


@tool
def ask(question: str) -> str:
    """Ask a person."""
    return f"they said {interrupt(question)}"


@tool
def pay(to: str) -> str:
    """Pay somebody; a person approves it first."""
    return f"paid {to}"


class Rewrites(AgentMiddleware[Any, Any]):
    """Does to the conversation what the step says, and keeps the final state."""

    def after_model(self, state: Any, runtime: Any) -> Any:
        messages: list[BaseMessage] = state["messages"]
        script, done = script_of(messages)
        last = messages[-1]
        if not 0 < done <= len(script["steps"]) or not isinstance(last, AIMessage):
            return None
        then = script["steps"][done - 1]["then"]
        if then == "edit":
            return {"messages": [last.model_copy(update={"content": f"{last.text} edited"})]}
        if then == "take_back" and not last.tool_calls:
            return {"messages": [RemoveMessage(id=str(last.id)), AIMessage(f"{last.text} instead")]}
        return None

    def before_model(self, state: Any, runtime: Any) -> Any:
        messages: list[BaseMessage] = state["messages"]
        script, done = script_of(messages)
        if not 0 < done <= len(script["steps"]):
            return None
        then = script["steps"][done - 1]["then"]
        results = [m for m in messages if isinstance(m, ToolMessage)]
        if then == "redact" and results and "redacted" not in str(results[-1].text):
            return {"messages": [results[-1].model_copy(update={"content": "redacted"})]}
        if then == "forget" and " summary of " not in str(messages[-1].text):
            at = max(i for i, m in enumerate(messages) if isinstance(m, HumanMessage))
            summary = AIMessage(f"{script['id']} summary of {done}")
            return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *messages[: at + 1], summary]}
        return None

    def after_agent(self, state: Any, runtime: Any) -> Any:
        FINAL[script_of(state["messages"])[0]["id"]] = list(state["messages"])


RULES = rules_of('{"pay": "always"}')
NAMES = frozenset({"add", "fail", "flaky", "ask", "pay"})


def _around(*, main: bool) -> list[Any]:
    retry_model = ModelRetryMiddleware(max_retries=1, initial_delay=0, jitter=False)
    retry_tool = ToolRetryMiddleware(max_retries=1, tools=["flaky"], initial_delay=0, jitter=False)
    approvals = ToolApprovals(RULES, NAMES, main=main)
    guard = RunGuard(frozenset(DEPUTIES))
    return [Rewrites(), approvals, guard, retry_model, retry_tool]


@cache
def agent(depth: int = DEPTH, *, blocks: bool = False) -> Any:
    """A deep agent with deputies, which have deputies, `depth` levels down."""
    model = Obedient(reply=next_step, blocks=blocks)
    deputies: list[Any] = [
        {"name": name, "description": "does a part", "runnable": agent(depth - 1, blocks=blocks)}
        for name in DEPUTIES
        if depth > 1
    ]
    if depth == 1:
        deputies = [
            {"name": name, "description": "does a part", "system_prompt": "Do it.", "middleware": _around(main=False)}
            for name in DEPUTIES
        ]
    return create_deep_agent(
        model=model,
        tools=[add, fail, flaky, ask, pay],
        subagents=deputies,
        middleware=_around(main=depth == DEPTH),
        checkpointer=SAVER if depth == DEPTH else None,
    )
