"""The JSON of `[message or chunk, metadata]`. Of chunks that differ in their text alone only the text is encoded."""

from typing import Any

from agent_runner.app.server.agent_server.streams.frames import json_of
from agent_runner.status.log.stream.message_pieces import CONTENT, Piece


class MessageTexts:
    """Of one reader."""

    def __init__(self) -> None:
        self._metadata: tuple[Any, str] = None, "null"
        """The metadata of the last message, which the next one may share, and their JSON."""
        self._around: tuple[Any, str, str] = None, "", ""
        """The whole piece that the last piece was alike, and what stands before its text and behind it."""

    def of(self, data: Any) -> str:
        if isinstance(data, Piece):
            if self._around[0] is not data.whole:
                self._around = data.whole, *self._parted(*data.whole)
            return f"{self._around[1]}{json_of(data.text)}{self._around[2]}"
        if not isinstance(data, list) or len(data) != 2:
            return json_of(data)
        message, metadata = data
        return f"[{json_of(message)},{self._json_of(metadata)}]"

    def _parted(self, chunk: dict[str, Any], metadata: Any) -> tuple[str, str]:
        names = list({**chunk, CONTENT: ""})
        place = names.index(CONTENT)
        before = "".join(f"{json_of(name)}:{json_of(chunk[name])}," for name in names[:place])
        after = "".join(f",{json_of(name)}:{json_of(chunk[name])}" for name in names[place + 1 :])
        return f"[{{{before}{json_of(CONTENT)}:", f"{after}}},{self._json_of(metadata)}]"

    def _json_of(self, metadata: Any) -> str:
        if self._metadata[0] is not metadata:
            self._metadata = metadata, json_of(metadata)
        return self._metadata[1]
