"""LangGraph's own handler of the stream mode `messages`, beside the stream.

In the mode each chunk goes through the graph's stream, whose reader is woken for it; that costs more than the chunk.
What the handler gives is the same. So a run that reports messages and no other part has them from here. Where other
parts are reported too, messages go through the stream: it knows the order between them.
"""

from collections.abc import Callable
from typing import Any, Self

from langgraph.pregel._messages import StreamMessagesHandler


class MessageCallbacks(StreamMessagesHandler):
    """`put` gets `(namespace, "messages", (message, metadata))` of the graph and its sub-graphs, on the thread of the
    callback."""

    def __init__(self, put: Callable[[Any], None]) -> None:
        super().__init__(put, subgraphs=True)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self
