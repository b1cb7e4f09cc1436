"""Masks the streamed texts of a run's messages on their way to the log, piece by piece."""

from typing import Any

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.masking.stream import MaskedStream
from agent_runner.status.log.log import Delta
from agent_runner.status.log.stream.message_pieces import CONTENT, is_alike

_ENDS = frozenset({"message_end", "message_edit", "message_removed"})
"""The rows that follow a streamed text and concern the whole text."""


class MaskedTexts:
    """One masked stream per message. Text that was held back comes before the row that ends the message."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._streams: dict[str, MaskedStream] = {}

    def through(self, deltas: list[Delta]) -> list[Delta]:
        """The same deltas with streamed texts masked; other rows are left as they are."""
        shown: list[Delta] = []
        for delta in deltas:
            id_ = str(delta.payload.get("id", ""))
            if delta.kind == "text":
                stream = self._streams.setdefault(id_, MaskedStream(self._mask))
                shown += _text(id_, stream.feed(delta.payload["text"]))
                continue
            if delta.kind in _ENDS:
                rest = self.end(id_)
                shown += rest if delta.kind == "message_end" and "content" not in delta.payload else []
            shown.append(delta)
        return shown

    def end(self, message_id: str) -> list[Delta]:
        """The text that was held back, of a message that gets no more text."""
        stream = self._streams.pop(message_id, None)
        return _text(message_id, stream.rest()) if stream is not None else []


def _text(message_id: str, text: str) -> list[Delta]:
    return [Delta(kind="text", payload={"id": message_id, "text": text})] if text else []


class MaskedChunks:
    """The chunks of messages in the graph's own stream: one masked stream per text of a message and of its calls.

    Text that could be the beginning of a secret is held back until the next chunk of its message. The last chunk of a
    message has all that is left; what a provider that marks no last chunk holds back is in the finished message.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._streams: dict[tuple[str, str], MaskedStream] = {}
        self._metadata: tuple[Any, Any] = None, None
        """The metadata of the last chunk, which the next one shares, and the same masked."""
        self._whole: dict[str, tuple[Any, Any]] = {}
        """The last chunk without calls of each open message, with its metadata, and the same masked: most that follow
        are like it but for their text."""

    def through(self, data: Any) -> Any:
        """`[chunk, metadata]` with every text in it masked; None for what is no chunk."""
        match data:
            case [{"type": "AIMessageChunk"} as chunk, metadata]:
                id_ = str(chunk.get("id") or "")
                whole, masked = self._whole.get(id_, (None, None))
                if whole is not None and is_alike(data, whole):
                    return [{**masked[0], CONTENT: self._text((id_, CONTENT), chunk[CONTENT], last=False)}, masked[1]]
                if self._metadata[0] is not metadata:
                    self._metadata = metadata, self._mask.within(metadata)
                masked = [self._mask.within(self._masked(dict(chunk))), self._metadata[1]]
                if chunk.get("chunk_position") == "last":
                    self._whole.pop(id_, None)
                elif isinstance(chunk.get(CONTENT), str) and not chunk.get("tool_call_chunks"):
                    self._whole[id_] = data, masked
                return masked
        return None

    def _masked(self, chunk: dict[str, Any]) -> dict[str, Any]:
        id_, last = str(chunk.get("id") or ""), chunk.get("chunk_position") == "last"
        content = chunk.get(CONTENT)
        if isinstance(content, str):
            chunk[CONTENT] = self._text((id_, CONTENT), content, last=last)
        elif isinstance(content, list):
            chunk[CONTENT] = [self._block(id_, block, last=last) for block in content]
        if calls := chunk.get("tool_call_chunks"):
            chunk["tool_call_chunks"] = [self._call(id_, call, last=last) for call in calls]
        if last:
            self._streams = {place: stream for place, stream in self._streams.items() if place[0] != id_}
        return chunk

    def _call(self, id_: str, call: Any, *, last: bool) -> Any:
        if isinstance(call, dict) and isinstance(call.get("args"), str):
            place = (id_, f"call {call.get('index')}")
            return {**call, "args": self._text(place, call["args"], last=last)}
        return call

    def _block(self, id_: str, block: Any, *, last: bool) -> Any:
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            place = (id_, f"block {block.get('index')}")
            return {**block, "text": self._text(place, block["text"], last=last)}
        return block

    def _text(self, place: tuple[str, str], piece: str, *, last: bool) -> str:
        stream = self._streams.setdefault(place, MaskedStream(self._mask))
        return stream.feed(piece) + (stream.rest() if last else "")
