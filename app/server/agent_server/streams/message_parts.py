"""The stream mode `messages`: each message as it is so far, where the log has its chunks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk, message_chunk_to_message

CHUNK = "AIMessageChunk"
TEXT_ALONE = frozenset({"content", "id", "type", "name"})
"""What a chunk may have that adds nothing but text to its message."""
Json = dict[str, Any]


@dataclass(slots=True)
class _Message:
    """`whole`: the chunks that were added up; `later`: the texts of those behind it, which `shown` has already."""

    whole: AIMessageChunk
    shown: Json
    later: list[str] = field(default_factory=list)


class MessageParts:
    """Adds up the chunks of one run, in the order of its log."""

    def __init__(self) -> None:
        self._messages: dict[str, _Message] = {}
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
        yield "messages/partial", [self._added(id_, message)]

    def _added(self, id_: str, chunk: Json) -> Json:
        before = self._messages.get(id_)
        if before is not None and _is_text(chunk) and isinstance(before.shown.get("content"), str):
            # To add two texts is nearly all that a stream needs, and a hundredth of what adding two messages costs.
            before.later.append(chunk["content"])
            before.shown = {**before.shown, "content": before.shown["content"] + chunk["content"]}
            return before.shown
        whole = AIMessageChunk.model_validate(chunk)
        if before is not None:
            texts = [AIMessageChunk(content="".join(before.later))] if before.later else []
            for one in (*texts, whole):
                before.whole = before.whole + one
            whole = before.whole
        shown = message_chunk_to_message(whole).model_dump(mode="json")
        self._messages[id_] = _Message(whole, shown)
        return shown


def _is_text(chunk: Mapping[str, Any]) -> bool:
    return isinstance(chunk.get("content"), str) and not any(v for k, v in chunk.items() if k not in TEXT_ALONE)
