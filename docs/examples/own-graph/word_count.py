"""A graph without a model: it counts the words of a message.

In this folder: `agent-runner run --graph word-count "how many words are these"`.
"""

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph


def count(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Answer with the number of words in the last message."""
    words = str(state["messages"][-1].text).split()
    return {"messages": [AIMessage(content=f"{len(words)} words")]}


graph = StateGraph(MessagesState)
graph.add_node("count", count)
graph.add_edge(START, "count")
graph.add_edge("count", END)
