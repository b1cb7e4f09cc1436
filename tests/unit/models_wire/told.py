"""A turn of a real agent on a real client, and what a user sees of it."""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool

from agent_runner.clients.engine.middleware import RunGuard
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.models.providers import anthropic_model, ollama_model, openai_model
from agent_runner.status.failures import describe
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.log import Delta, LogRow, fold, render
from agent_runner.tasks.run.outcome import COMPLETED, Outcome, broke
from tests.unit.models_wire.scenes import ANTHROPIC, OLLAMA


def model_at(wire: str, url: str, name: str) -> BaseChatModel:
    """As the cascade builds it, without its settings."""
    if wire == ANTHROPIC:
        return anthropic_model(model_name=name, api_key="k", base_url=url)
    if wire == OLLAMA:
        return ollama_model(model=name, base_url=url)
    return openai_model(model=name, api_key="k", base_url=f"{url}/v1", stream_usage=True, use_responses_api=False)


async def told(model: BaseChatModel, ran: list[str], source: Any = None) -> dict[str, Any]:
    """Run one turn. `ran` gets the argument of each call that was executed."""

    @tool
    def note(line: str) -> str:
        """Write a line down."""
        ran.append(line)
        return f"noted: {line}"

    @tool
    def look() -> str:
        """Look around."""
        ran.append("look")
        return "nothing"

    graph = create_agent(model, [note, look], middleware=[RunGuard(frozenset())])
    builder, deltas, outcome = StatusBuilder(), list[Delta](), COMPLETED
    events = (source or run_events)(graph, {"messages": [("user", "go")]}, {})
    try:
        async for event in events:
            deltas += builder.feed(event)
        deltas += builder.finish()
    except Exception as error:
        deltas += builder.break_off()
        outcome = broke(error, began=True, sandbox="none")
    return _seen(deltas, outcome, builder.used.tokens)


def _seen(deltas: Sequence[Delta], outcome: Outcome, usage: dict[str, int]) -> dict[str, Any]:
    rows = [LogRow(seq=n, at=0.0, fence=1, kind=d.kind, payload=dict(d.payload)) for n, d in enumerate(deltas, 1)]
    state = fold(rows)
    status = render(state)
    seen: dict[str, Any] = {"phase": outcome.phase.name, "usage": usage}
    messages = []
    for message in status.get("messages", ()):
        metadata = message.get("metadata", {})
        kept = {
            k: metadata[k] for k in ("finish_reason", "incomplete", "reasoning", "refusal", "note") if k in metadata
        }
        messages.append({"text": message.get("content", ""), **kept})
    seen["messages"] = messages
    keys = ("name", "args", "status", "result", "error")
    seen["calls"] = [{k: c[k] for k in keys if k in c} for c in status.get("tool_calls", ())]
    if state.incomplete:
        seen["incomplete"] = state.incomplete
    if outcome.code is not None:
        said = describe(outcome.code, outcome.facts)
        seen |= {"error": said.error, "next_step": said.next_step}
    return {key: value for key, value in seen.items() if value not in ([], {})}
