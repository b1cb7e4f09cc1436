"""A graph of three steps, each with an effect in an outside record: one line, before memory knows of it.

The message is the execution's mark. A line: the mark, what happened, the step, the time.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

RECORD = Path(__file__).parent / "record"
STEPS = 3


def note(mark: str, what: str, step: int) -> None:
    with RECORD.open("ab", buffering=0) as file:  # one write: many processes append
        file.write(f"{mark} {what} {step} {time.time():.6f} {os.getpid()}\n".encode())


def step(number: int) -> Any:
    async def work(state: MessagesState) -> dict[str, Any]:
        mark = next(str(m.content) for m in reversed(state["messages"]) if m.type == "human")
        note(mark, "begins", number)
        await asyncio.sleep(0.4)
        note(mark, "effect", number)
        return {"messages": [AIMessage(f"{mark} is done")]} if number == STEPS else {}

    return work


crowd = StateGraph(MessagesState)
for n in range(1, STEPS + 1):
    crowd.add_node(f"step{n}", step(n))
    crowd.add_edge(f"step{n - 1}" if n > 1 else START, f"step{n}")
