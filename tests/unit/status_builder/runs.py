"""Runs a real graph, and folds what the builder says of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from deepagents import SubAgent, create_deep_agent
from langchain.agents.middleware import TodoListMiddleware
from langchain_core.tools import tool

from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.log import Delta, LogRow, fold, render
from tests.unit.status_builder.scripted_model import ScriptedModel


def rows(deltas: Iterable[Delta], start: int = 1) -> list[LogRow]:
    """Numbered, one second apart."""
    return [
        LogRow(seq=n, at=1_800_000_000.0 + n, fence=1, kind=delta.kind, payload=delta.payload)
        for n, delta in enumerate(deltas, start=start)
    ]


def status_of(deltas: Iterable[Delta]) -> dict[str, Any]:
    return render(fold(rows(deltas)))


@dataclass(kw_only=True)
class Told:
    """What a run left: its deltas, its builder, and the error it raised."""

    deltas: list[Delta]
    builder: StatusBuilder
    error: BaseException | None = None

    @property
    def status(self) -> dict[str, Any]:
        return status_of(self.deltas)

    def call(self, id_: str) -> dict[str, Any]:
        return next(call for call in self.status["tool_calls"] if call["id"] == id_)

    def texts(self, scope: str = "") -> list[str]:
        """The AI messages of one agent."""
        return [
            message.get("content", "")
            for message in self.status["messages"]
            if message["type"] == "MESSAGE_AI" and message["metadata"].get("scope", "") == scope
        ]


async def tell(
    graph: Any, asked: Any, *, source: Callable[..., Any] = run_events, max_bytes: int = 65536, **config: Any
) -> Told:
    """Run `graph` to its end, also to a bad one."""
    told = Told(deltas=[], builder=StatusBuilder(max_tool_result_bytes=max_bytes))
    given = {"messages": [{"role": "user", "content": asked}]} if isinstance(asked, str) else asked
    try:
        async for event in source(graph, given, config):
            told.deltas += told.builder.feed(event)
        told.deltas += told.builder.finish()
    except Exception as error:
        told.error = error
        told.deltas += told.builder.break_off()
    return told


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@tool
def fail(why: str) -> str:
    """Fail."""
    raise ValueError(why)


def agent(model: ScriptedModel, **more: Any) -> Any:
    """A deep agent with todos, `add`, `fail` and the sub-agent `researcher`."""
    researcher: SubAgent = {
        "name": "researcher",
        "description": "finds out",
        "system_prompt": "Find out.",
        "tools": [add],
    }
    return create_deep_agent(
        model=model, tools=[add, fail], middleware=[TodoListMiddleware()], subagents=[researcher], **more
    )
