"""Blocking calls: `silent` fans out to as many as the message says, and none returns; `brief` makes a short one.

Both are plain functions, so that LangGraph gives each to a thread.
"""

import time
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send

FOR_EVER_S = 3600.0
BRIEF_S = 0.02


def hang(state: Any) -> dict[str, Any]:
    time.sleep(FOR_EVER_S)
    return {}


def fan_out(state: MessagesState) -> list[Send]:
    return [Send("hang", number) for number in range(int(str(state["messages"][-1].text)))]


def call(state: MessagesState) -> dict[str, Any]:
    time.sleep(BRIEF_S)
    return {"messages": [AIMessage("It answered.")]}


silent = StateGraph(MessagesState).add_node("hang", hang).add_conditional_edges(START, fan_out, ["hang"]).compile()
brief = StateGraph(MessagesState).add_node("call", call).add_edge(START, "call").compile()
