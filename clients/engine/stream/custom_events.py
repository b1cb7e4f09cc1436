"""Puts events that a node dispatches by name into the stream of its graph, so that the order of all data is kept."""

from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.config import get_stream_writer


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchedEvent:
    """An event of `dispatch_custom_event` or `adispatch_custom_event`."""

    name: str
    data: Any
    node: str


class Dispatched(BaseCallbackHandler):
    """Called in the node that dispatches, so it can use the node's stream writer. Not called for tokens."""

    run_inline = True
    ignore_llm = True
    ignore_chain = True
    ignore_chat_model = True
    ignore_retriever = True
    ignore_agent = True
    ignore_retry = True

    def on_custom_event(self, name: str, data: Any, *, metadata: dict[str, Any] | None = None, **_: Any) -> None:
        node = str((metadata or {}).get("langgraph_node") or "")
        get_stream_writer()(DispatchedEvent(name=name, data=data, node=node))
