"""Masks the streamed texts of a run's messages on their way to the log, piece by piece."""

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.masking.stream import MaskedStream
from agent_runner.status.log.log import Delta

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
