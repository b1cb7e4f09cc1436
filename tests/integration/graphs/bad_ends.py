"""Agents whose tools leave a witness in a file, for the tests of bad ends. Copied with `strict_model.py` beside it.

`work END`: one call that sends a mail, beside one that waits, raises, or works once `mended-MARK` is there.
"""

import asyncio
import operator
import os
import signal
from pathlib import Path
from typing import Annotated, Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.unit.memory.strict_model import StrictModel, refuse_bad_history

PLACE = Path(__file__).parent


def witness(what: str) -> None:
    with (PLACE / "witness").open("a") as file:
        file.write(f"{what}\n")


@tool
async def quick(mark: str) -> str:
    """Send a mail."""
    witness(f"mail {mark}")
    return f"mail {mark} was sent"


@tool
async def slow(how: str, mark: str) -> str:
    """Make a report."""
    witness(f"begun {mark}")
    if (PLACE / f"mended-{mark}").exists():
        return f"report {mark}"
    (PLACE / f"pid-{mark}").write_text(str(os.getpid()))
    while not (PLACE / f"go-{mark}").exists():
        await asyncio.sleep(0.02)
    raise ValueError("no paper")


class Model(StrictModel):
    """`count`: how many messages of the user it sees."""

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        if messages[-1].content != "count":
            return super()._generate(messages, stop, run_manager, **kwargs)
        refuse_bad_history(messages)
        said = f"{sum(isinstance(one, HumanMessage) for one in messages)} questions"
        return ChatResult(generations=[ChatGeneration(message=AIMessage(said))])


async def ask(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Model().ainvoke(state["messages"])]}


own = StateGraph(MessagesState).add_node("model", ask)
own.add_node("tools", ToolNode([quick, slow], handle_tool_errors=False))
own.add_edge(START, "model").add_edge("tools", "model").add_conditional_edges("model", tools_condition)
agent = create_agent(Model(), [quick, slow])
deep = create_deep_agent(Model(), [quick, slow])


class Steps(MessagesState, total=False):
    done: Annotated[list[str], operator.add]


async def first(state: Steps) -> dict[str, Any]:
    witness(f"first {state['messages'][0].content}")
    return {"done": ["first"]}


async def second(state: Steps) -> dict[str, Any]:
    (PLACE / f"open-{state['messages'][0].content}").touch()
    while not (PLACE / f"go-{state['messages'][0].content}").exists():
        await asyncio.sleep(0.02)
    witness(f"second {state['messages'][0].content}")
    return {"done": ["second"]}


async def third(state: Steps) -> dict[str, Any]:
    """The step before this one is in memory; its worker dies before it can say so."""
    flag = PLACE / f"died-{state['messages'][0].content}"
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"done": ["third"], "messages": [AIMessage("done")]}


steps = StateGraph(Steps).add_node("first", first).add_node("second", second).add_node("third", third)
steps.add_edge(START, "first").add_edge("first", "second").add_edge("second", "third")
