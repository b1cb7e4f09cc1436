"""The plain JSON of streamed messages. Of chunks that differ in their text alone the first one is dumped."""

from typing import Any

from langchain_core.messages import AIMessageChunk

from agent_runner.clients.engine.stream.plain_parts import plain_part
from agent_runner.status.log.plain import plain_text
from agent_runner.status.log.stream.message_pieces import CONTENT, is_same

MOST_KNOWN = 64
"""Messages that stream at the same time, one chunk of each of which is kept."""


class MessageDumps:
    """Of one run. Dumps of alike chunks share what they have in common, which tells those who write them that it is."""

    def __init__(self) -> None:
        self._known: dict[Any, dict[str, Any]] = {}

    def of(self, message: Any) -> Any:
        """As `plain_part`, which dumps the whole message."""
        if type(message) is not AIMessageChunk or type(message.content) is not str:
            return plain_part(message)
        known = self._known.get(message.id)
        if known is not None and _is_alike(message, known):
            return {**known, CONTENT: plain_text(message.content)}
        dumped = plain_part(message)
        if isinstance(dumped, dict):
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[message.id] = dumped
        return dumped


def _is_alike(chunk: AIMessageChunk, known: dict[str, Any]) -> bool:
    fields = vars(chunk)
    if chunk.model_extra or len(fields) != len(known):
        return False
    return all(name in known and is_same(value, known[name]) for name, value in fields.items() if name != CONTENT)
