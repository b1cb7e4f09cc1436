"""The stream mode `messages`: each message as it is so far, where the log has its chunks."""

from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessageChunk, message_chunk_to_message

CHUNK = "AIMessageChunk"


class MessageParts:
    """Adds up the chunks of one run, in the order of its log."""

    def __init__(self) -> None:
        self._messages: dict[str, AIMessageChunk] = {}
        self._known: set[str] = set()

    def feed(self, data: Any) -> Iterator[tuple[str, Any]]:
        """(event, data) for `[message or chunk, metadata]`."""
        message, metadata = data
        id_ = str(message.get("id") or "")
        if id_ not in self._known:
            self._known.add(id_)
            yield "messages/metadata", {id_: {"metadata": metadata}}
        if message.get("type") != CHUNK:
            yield "messages/complete", [message]
            return
        chunk = AIMessageChunk.model_validate(message)
        before = self._messages.get(id_)
        whole = self._messages[id_] = chunk if before is None else before + chunk
        yield "messages/partial", [message_chunk_to_message(whole).model_dump(mode="json")]
