"""The parts of a graph's own stream as rows of the log, for the runs that ask for them (`status.requests.run_request`).

A row is `{"parts": [[part, namespace, data], ...]}`; a run writes them one by one, and those that are sent together
become one row (`log.coalesce`, `message_pieces`). One last row, `{"values", "interrupts", "error"}`, has the state in
which the graph stopped. These rows are no part of the status. Their size is limited: a part that is too large is cut,
and after a run's limit only the end is kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent_runner.status.log.events import StreamPart
from agent_runner.status.log.log import Delta
from agent_runner.status.log.plain import Room, plain
from agent_runner.status.log.stream.message_pieces import CONTENT, PIECES, is_alike, is_piece

STREAM, STREAM_END = "stream", "stream_end"
AROUND_BYTES = 40
"""What a part's name and place add to its data, about."""
OVER = "limit"
"""The part that is told once when a run has reached its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """The limits for one part and for all parts of a run, in bytes of JSON."""

    part_bytes: int = 16 << 20
    run_bytes: int = 64 << 20


class StreamRows:
    """The stream rows of one run. `data` of events is plain JSON already."""

    def __init__(self, limits: StreamLimits | None = None) -> None:
        self._limits = limits or StreamLimits()
        self._bytes = 0
        self._full = False
        self._metadata: tuple[Any, int] = None, 0
        """The metadata of the last piece of a message, and their weight."""
        self._piece: tuple[Any, int] = None, 0
        """The last whole piece that later ones may be alike, and the weight of all but its text."""

    def row(self, event: StreamPart) -> Delta | None:
        """The row to append; None after the limit was reached."""
        if self._full:
            return None
        data, weight = self._fitted_piece(event.data) if event.part == PIECES else self._fitted(event.data)
        self._bytes += weight
        told: list[Any] = [event.part, list(event.namespace), data]
        if self._bytes > self._limits.run_bytes:
            self._full = True
            note = f"at most {self._limits.run_bytes} bytes of a run's stream are kept (AGENT_RUNNER_MAX_STREAM_BYTES)"
            told = [OVER, [], {"note": f"the stream is not kept from here on: {note}"}]
        return Delta(kind=STREAM, payload={"parts": [told]}, weight=weight + AROUND_BYTES)

    def end(self, values: Any, interrupts: list[Any], error: Mapping[str, str] | None) -> Delta:
        """The row that tells where the graph stopped."""
        told: dict[str, Any] = {"values": self._fitted(values)[0]}
        told |= {"interrupts": interrupts} if interrupts else {}
        return Delta(kind=STREAM_END, payload=told | ({"error": dict(error)} if error else {}))

    def _fitted_piece(self, data: Any) -> tuple[Any, int]:
        """Pieces of a message share their metadata, which are weighed once."""
        if not is_piece(data):
            return self._fitted(data)
        content = data[0].get(CONTENT)
        text = len(json.dumps(content, ensure_ascii=False)) if isinstance(content, str) else 0
        if text and self._piece[0] is not None and is_alike(data, self._piece[0]):
            weight = self._piece[1] + text
        else:
            if self._metadata[0] is not data[1]:
                self._metadata = data[1], len(json.dumps(data[1], ensure_ascii=False))
            weight = len(json.dumps(data[0], ensure_ascii=False)) + self._metadata[1]
            self._piece = (data, weight - text) if text else self._piece
        return (data, weight) if weight <= self._limits.part_bytes else self._fitted(data)

    def _fitted(self, data: Any) -> tuple[Any, int]:
        weight = len(json.dumps(data, ensure_ascii=False))
        if weight <= self._limits.part_bytes:
            return data, weight
        room = Room(self._limits.part_bytes)
        return plain(data, max_bytes=self._limits.part_bytes, room=room), self._limits.part_bytes


def of_tokens(delta: Delta) -> bool:
    """Whether the row has only pieces of messages, which may wait a moment as streamed text does."""
    return delta.kind == STREAM and all(part == PIECES for part, _, _ in delta.payload["parts"])
