"""`pages` answers with as many bytes as the message says, and leaves as many more in a field of its state."""

import uuid
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

PAGE_BYTES = 240_000


class Pages(MessagesState, total=False):
    texts: list[str]


def load(state: Pages) -> dict[str, Any]:
    size = int(str(state["messages"][-1].text))
    return {
        "messages": [AIMessage("x" * size, id=uuid.uuid4().hex)],
        "texts": ["y" * PAGE_BYTES for _ in range(size // PAGE_BYTES)],
    }


pages = StateGraph(Pages)
pages.add_node("load", load)
pages.add_edge(START, "load")
pages.add_edge("load", END)
