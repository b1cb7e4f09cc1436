"""How pieces of streamed messages are kept in a row of the graph's own stream (`stream_parts`), and read again.

Of the pieces of one model call nearly all differ in their text alone. The first in a row is whole, `[chunk, metadata]`;
of the others a row has `[n, text]`: as part `n` of the row, with this text as its content. The metadata of a whole one
is null if it is that of the whole one before it. A row stands for itself, as readers begin at any of them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PIECES = "messages"
CONTENT = "content"
MOST_OPEN = 16
"""Messages that stream at the same time and are told apart in one row."""
CUT_AWAY: list[Any] = [{}, None]
"""In place of a whole piece that is missing, in a row that was too large and is cut."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a message whose chunk is that of `whole` with another content. Those of the same row that differ in
    nothing else share the object `whole`, which is `[chunk, metadata]`."""

    whole: list[Any]
    text: str

    def data(self) -> list[Any]:
        return [{**self.whole[0], CONTENT: self.text}, self.whole[1]]


def packed(parts: Iterable[Any]) -> list[Any]:
    """The parts for one row."""
    told: list[Any] = []
    open_: dict[str, tuple[int, list[str], Any]] = {}
    metadata: Any = None
    for part, place, data in parts:
        if part != PIECES or not is_piece(data):
            told.append([part, place, data])
            continue
        chunk, beside = data
        key = chunk.get("id")
        found = open_.get(key) if isinstance(key, str) else None
        if found is not None and found[1] == place and is_alike(found[2], data):
            told.append([part, place, [found[0], chunk[CONTENT]]])
            continue
        if isinstance(key, str) and isinstance(chunk.get(CONTENT), str) and (found or len(open_) < MOST_OPEN):
            open_[key] = len(told), place, data
        same = beside is not None and (beside is metadata or is_same(beside, metadata))
        metadata = metadata if beside is None else beside
        told.append([part, place, [chunk, None] if same else data])
    return told


def pieces_in(payload: Mapping[str, Any]) -> Iterator[tuple[str, list[str], Any]]:
    """(part, namespace, data) of each part in a row; the data of a piece of text is a `Piece`."""
    whole: dict[int, list[Any]] = {}
    metadata: Any = None
    for number, (part, namespace, data) in enumerate(payload["parts"]):
        if part != PIECES or not isinstance(data, list) or len(data) != 2:
            yield part, namespace, data
        elif type(data[0]) is int and type(data[1]) is str:
            yield part, namespace, Piece(whole.get(data[0], CUT_AWAY), data[1])
        else:
            metadata = metadata if data[1] is None else data[1]
            whole[number] = [data[0], metadata]
            yield part, namespace, whole[number]


def parts_in(payload: Mapping[str, Any]) -> Iterator[tuple[str, list[str], Any]]:
    """(part, namespace, data) of each part in a row, all as the graph told them."""
    for part, namespace, data in pieces_in(payload):
        yield part, namespace, data.data() if isinstance(data, Piece) else data


def is_piece(data: Any) -> bool:
    """Whether it is a message or a chunk with its metadata. (Anything else that has two entries is kept as it is.)"""
    return isinstance(data, list) and len(data) == 2 and isinstance(data[0], dict)


def is_alike(one: Any, other: Any) -> bool:
    """Whether two pieces are the same but for their content, which is text in both."""
    chunk, beside = one
    its, besides = other
    if chunk.keys() != its.keys() or not isinstance(its.get(CONTENT), str):
        return False
    if not all(value is its[name] or is_same(value, its[name]) for name, value in chunk.items() if name != CONTENT):
        return False
    return beside is besides or is_same(beside, besides)


def is_same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON; `1`, `1.0` and `true` are equal, and are not."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return json.dumps(one) == json.dumps(other) if isinstance(one, float) else bool(one == other)
