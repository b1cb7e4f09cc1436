"""`silent` makes as many blocking calls at once as the message says; none of them returns within a case."""

import time
from typing import Any

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send

FOR_EVER_S = 600.0


def fetch(state: Any) -> dict[str, Any]:
    time.sleep(FOR_EVER_S)
    return {}


def fan_out(state: MessagesState) -> list[Send]:
    return [Send("fetch", number) for number in range(int(str(state["messages"][-1].text)))]


silent = StateGraph(MessagesState)
silent.add_node("fetch", fetch)
silent.add_conditional_edges(START, fan_out, ["fetch"])
silent.add_edge("fetch", END)
