"""A graph of six steps that leave a witness. `MARK N`: its process is killed in step N, once; `MARK raise`: 3 fails.

The last step says which steps are in memory, and how many questions.
"""

import operator
import os
import signal
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

PLACE = Path(__file__).parent
COUNT = 6


class Steps(MessagesState, total=False):
    done: Annotated[list[str], operator.add]


def step(number: int) -> Any:
    async def work(state: Steps) -> dict[str, Any]:
        mark, _, killed_in = str(state["messages"][-1].content).partition(" ")
        flag = PLACE / f"died-{mark}"
        with (PLACE / "witness").open("a") as file:
            file.write(f"{mark} {number} {os.getpid()}\n")
        if killed_in == "raise" and number == 3:
            raise ValueError(f"no paper for {mark}")
        if killed_in == str(number) and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        done = {"done": [f"{mark}{number}"]}
        if number < COUNT:
            return done
        asked = sum(isinstance(one, HumanMessage) for one in state["messages"])
        told = " ".join([*(state.get("done") or []), *done["done"]])
        return {**done, "messages": [AIMessage(f"{asked}: {told}")]}

    return work


six = StateGraph(Steps)
for n in range(1, COUNT + 1):
    six.add_node(f"step{n}", step(n))
    six.add_edge(f"step{n - 1}" if n > 1 else START, f"step{n}")
