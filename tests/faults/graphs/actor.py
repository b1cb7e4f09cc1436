"""A graph that does what its input says, one action per step: the agents that misbehave.

{"do": "say", "text": T}              an AI message
{"do": "await", "s": N}               sleeps without blocking anything
{"do": "block_loop", "s": N}          blocks the event loop of its process
{"do": "hold_interpreter", "rounds": N}    one call in C, which lets no other thread of its process run
{"do": "tool", "name": NAME, "args": {}}   calls one of the tools below: `nap` blocks a thread, `fail` raises
{"do": "append", "file": F, "text": T}     a line in a file that only the test reads
{"do": "raise", "what": NAME, "text": T}   raises that built-in exception (or CancelledError)
{"do": "exit_process", "code": N}     os._exit
{"do": "recurse"}                     RecursionError, for real
{"do": "hold_memory", "mb": N}        takes that much memory and keeps it
{"do": "nothing"}                     a step without an event of its own
"""

import asyncio
import builtins
import itertools
import os
import time
import uuid
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode

_held: list[bytearray] = []


class Script(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    actions: list[dict[str, Any]]
    at: int


class Said(TypedDict):
    """What the graph gives: its bookkeeping is no answer."""

    messages: Annotated[list[AnyMessage], add_messages]


@tool
def nap(s: float) -> str:
    """Block the thread of this tool."""
    time.sleep(s)
    return f"slept {s:g} s"


@tool
def fail(text: str) -> str:
    """Raise."""
    raise ValueError(text)


@tool
def echo(text: str) -> str:
    """Answer with the text."""
    return text


async def act(state: Script) -> dict[str, Any]:
    at = state.get("at", 0)
    actions = state.get("actions", [])
    if at >= len(actions):
        return {"messages": [AIMessage("done", id=uuid.uuid4().hex)]}
    said = await _do(actions[at])
    return {"at": at + 1, **({"messages": [said]} if said else {})}


async def _do(action: dict[str, Any]) -> AIMessage | None:
    match action["do"]:
        case "say":
            return AIMessage(action["text"], id=uuid.uuid4().hex)
        case "await":
            await asyncio.sleep(action["s"])
        case "block_loop":
            time.sleep(action["s"])
        case "hold_interpreter":
            hold_interpreter(action["rounds"])
        case "tool":
            call = {"name": action["name"], "args": action["args"], "id": f"call_{uuid.uuid4().hex[:12]}"}
            return AIMessage("", id=uuid.uuid4().hex, tool_calls=[{**call, "type": "tool_call"}])
        case "append":
            with open(action["file"], "a") as file:
                file.write(action["text"] + "\n")
        case "raise":
            raise _exception(action["what"])(*filter(None, [action.get("text")]))
        case "exit_process":
            os._exit(action["code"])
        case "recurse":
            _recurse(0)
        case "hold_memory":
            _held.append(bytearray(b"x") * (action["mb"] << 20))
        case "nothing":
            pass
        case unknown:
            raise ValueError(f"unknown action {unknown!r}")
    return None


def _exception(name: str) -> type[BaseException]:
    found = asyncio.CancelledError if name == "CancelledError" else getattr(builtins, name)
    assert issubclass(found, BaseException)
    return found


def hold_interpreter(rounds: int) -> int:
    return sum(itertools.repeat(1, rounds))


def _recurse(depth: int) -> int:
    return _recurse(depth + 1) + 1


def following(state: Script) -> str:
    last = state["messages"][-1] if state.get("messages") else None
    if isinstance(last, AIMessage) and last.tool_calls:
        return "tools"
    return "act" if state.get("at", 0) < len(state.get("actions", [])) else END


graph = StateGraph(Script, output_schema=Said)
graph.add_node("act", act)
graph.add_node("tools", ToolNode([nap, fail, echo], handle_tool_errors=True))
graph.add_edge(START, "act")
graph.add_conditional_edges("act", following, ["act", "tools", END])
graph.add_conditional_edges("tools", following, ["act", END])
