"""The messages of a graph's state that were compared with the status already, and are still what they were.

A step of an agent adds one message or two to a list that may be long. Those before them are the same objects in the
same places. Each is looked at all the same, because a node may rewrite a message in place, but nothing else is done.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agent_runner.clients.engine.stream import messages as read


class SettledMessages:
    """`settle` after all messages of a state were compared, `fresh` before the next state is, `forget` when something
    else changed what was reported of them."""

    def __init__(self) -> None:
        self._seen: list[tuple[BaseMessage, str, Any]] | None = None

    def fresh(self, held: Sequence[Any]) -> Sequence[Any] | None:
        """The messages behind the settled ones. None: the settled ones changed, so all have to be compared."""
        seen = self._seen
        if seen is None or len(held) < len(seen):
            return None
        for message, (was, id_, shown) in zip(held, seen, strict=False):
            if message is not was or message.id != id_ or (shown is not None and shown != _compared(message)):
                return None
        return held[len(seen) :]

    def settle(self, held: Sequence[Any], compared: Iterable[bool]) -> None:
        """These messages are what was reported. `compared`: whether what each of them shows counts from now on."""
        self._seen = []
        self.add(held, compared)

    def add(self, held: Sequence[Any], compared: Iterable[bool]) -> None:
        """These follow the settled ones. Messages without an id of their own are looked for each time."""
        for message, counts in zip(held, compared, strict=True):
            if self._seen is None or not isinstance(message, BaseMessage) or not message.id:
                self._seen = None
                return
            self._seen.append((message, message.id, _compared(message) if counts else None))

    def forget(self) -> None:
        self._seen = None


def view(message: BaseMessage) -> tuple[Any, ...]:
    """The parts of a message that are shown. If they differ, the message was rewritten."""
    text = read.shown_text(message)
    if not isinstance(message, AIMessage):
        return (message.type, text)
    return (message.type, text, read.reasoning_of(message), calls_of(message))


def calls_of(message: AIMessage) -> list[tuple[Any, Any, Any]]:
    """(id, name, args) of each, in the order of `Calls.request`."""
    calls = [*message.tool_calls, *message.invalid_tool_calls]
    return [(call.get("id"), call.get("name"), call.get("args")) for call in calls]


def _compared(message: Any) -> Any:
    """What `view` shows of it, as cheap as it can be had: each message is looked at after each step."""
    content = message.content
    if isinstance(message, ToolMessage):
        return content, message.status
    if type(content) is not str:
        return view(message)
    if not isinstance(message, AIMessage):
        return content
    calls = calls_of(message) if message.tool_calls or message.invalid_tool_calls else None
    return content, message.additional_kwargs.get(read.REASONING), calls
