"""The scenarios of models on a server beside the stack, and what a user sees of one in the whole product."""

import asyncio
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.integration.stack import Json, Stack
from tests.unit.models_wire.scenes import ANTHROPIC, OLLAMA, OPENAI, CallWords, Scenario
from tests.unit.models_wire.server import WireServer, serving

EXECUTE = CallWords(
    tool="execute", key="command", text="echo first; echo second", other_text="echo another", bare_tool="ls"
)
SEEN_OF_A_MESSAGE = ("finish_reason", "incomplete", "reasoning", "refusal", "note", "usage")
SEEN_OF_A_CALL = ("name", "args", "status", "result", "error")
_PYTHON = re.compile(r"[{\[(]'|': |<class |object at 0x|input_value=|Traceback")
"""What only a program says."""


def model_name(wire: str, scenario: str) -> str:
    return f"{wire}-{re.sub(r'[^a-z0-9]+', '-', scenario.lower()).strip('-')}"


@contextmanager
def served(scenarios: Mapping[str, Scenario], kind: type[WireServer] = WireServer) -> Iterator[WireServer]:
    """On a thread of its own. `scenarios` by model name."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[WireServer] = []

    async def serve() -> None:
        async with serving(scenarios, kind) as server:
            found.append(server)
            ready.set()
            await stop.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def settings(server: WireServer) -> dict[str, str]:
    """Of a stack whose models are all on `server`."""
    return {
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "ANTHROPIC_API_KEY": "k",
        "ANTHROPIC_BASE_URL": server.url,
        "OLLAMA_BASE_URL": server.url,
    }


def run(stack: Stack, wire: str, scenario: str) -> Json:
    """The execution at its end. `wire` is the provider's name too."""
    assert wire in (OPENAI, ANTHROPIC, OLLAMA)
    created = stack.create("go", model=f"{wire}:{model_name(wire, scenario)}")
    return stack.wait_for(created["metadata"]["id"], within_s=90)


def looks(execution: Json) -> Json:
    """What a user sees, without what differs from run to run."""
    status = execution["status"]
    messages = []
    for message in status["messages"][1:]:
        metadata = message.get("metadata", {})
        kept = {key: metadata[key] for key in SEEN_OF_A_MESSAGE if key in metadata}
        messages.append({"type": message["type"], "text": message.get("content", ""), **kept})
    calls = [{key: call[key] for key in SEEN_OF_A_CALL if key in call} for call in status.get("tool_calls", ())]
    seen = {"phase": status["phase"].removeprefix("EXECUTION_"), "messages": messages, "calls": calls}
    if execution.get("incomplete"):
        seen["incomplete"] = execution["incomplete"]
    if "error" in status:
        seen |= {"error": status["error"], "next_step": status["messages"][-1]["metadata"]["next_step"]}
    seen["ran"] = [call.get("args", {}) for call in calls if call["status"] == "TOOL_CALL_COMPLETED"]
    return {key: value for key, value in seen.items() if value not in ([], {})}


def wrong(execution: Json) -> list[str]:
    """The laws that every end keeps, whatever the model did: those that this one breaks."""
    status, found = execution["status"], []
    messages, calls = status["messages"], status.get("tool_calls", [])
    said = [message for message in messages if message["type"] == "MESSAGE_AI"]
    ids = [message["metadata"]["message_id"] for message in said]
    if len(set(ids)) != len(ids):
        found.append("a message is there twice")
    within = [call for message in messages for call in message.get("tool_calls", ())]
    if sorted(c["id"] for c in within) != sorted({c["id"] for c in calls}) or len(within) != len(calls):
        found.append("a call is there twice, or not in its message")
    if any(call["status"] not in ("TOOL_CALL_COMPLETED", "TOOL_CALL_FAILED") for call in [*calls, *within]):
        found.append("a call has no end")
    words = [status.get("error", ""), *(m.get("content", "") for m in messages), *(c.get("error", "") for c in calls)]
    found += [f"a program's words: {text}" for text in words if _PYTHON.search(text) or "<html" in text.lower()]
    return found + (_failure(status) if "error" in status else _answer(execution, said))


def _failure(status: Mapping[str, Any]) -> list[str]:
    last, found = status["messages"][-1], []
    if status["phase"] != "EXECUTION_FAILED" or not status["error"].endswith(" [E301 APPLICATION]"):
        found.append("the failure has another code or phase")
    if last["type"] != "MESSAGE_SYSTEM" or not last["metadata"].get("next_step"):
        found.append("no next step")
    return found


def _answer(execution: Mapping[str, Any], said: list[Json]) -> list[str]:
    last = said[-1]
    less = last.get("metadata", {}).get("incomplete") or ("" if last.get("content") else "empty")
    told = (execution.get("incomplete") or {}).get("reason", "")
    return [] if less == told else [f"incomplete is {told!r}, the last answer is {less!r}"]
