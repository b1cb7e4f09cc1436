"""What a task wrote, as both databases keep it."""

from collections.abc import Sequence
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.base import SerializerProtocol


def rows_of(writes: Sequence[tuple[str, Any]], serde: SerializerProtocol) -> list[tuple[int, str, str, bytes]]:
    """(number, channel, type, bytes) of each."""
    return [
        (WRITES_IDX_MAP.get(channel, number), channel, *serde.dumps_typed(value))
        for number, (channel, value) in enumerate(writes)
    ]


def may_be_told_again(writes: Sequence[tuple[str, Any]]) -> bool:
    """Errors, interrupts and the like, of which the last one counts. A task's ordinary writes count once."""
    return all(channel in WRITES_IDX_MAP for channel, _ in writes)
