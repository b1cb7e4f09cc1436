"""The log of an execution. Status = fold(log), at every read (law L6).

A row records one thing that happened. It is a `Delta` before it has a number, and a `LogRow` after. `State` is the
result of all rows so far; `render` turns it into the published contract's status.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent_runner.status.log.render import render, rfc3339
from agent_runner.status.log.state import Json, LogRow, State

__all__ = ["Delta", "LogRow", "State", "coalesce", "fold", "render", "rfc3339"]


PARTS_AT_ONCE = 64
"""The most parts of a graph's stream in one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One thing that happened, before it has a number. `payload` is plain JSON; its keys depend on the kind."""

    kind: str
    payload: Json
    weight: int = 0
    """Its size as JSON in bytes, if that is known already."""


def fold(rows: Iterable[LogRow], start: State | None = None) -> State:
    """The state after all rows. `start` is a state from a snapshot; it is changed in place."""
    state = State.empty() if start is None else start
    for row in rows:
        state.apply(row)
    return state


def coalesce(deltas: Iterable[Delta]) -> list[Delta]:
    """The same content in fewer deltas: between two deltas of other kinds, all text of one message becomes one delta,
    and all parts of the graph's own stream become one.

    This also holds when several messages grow at the same time, as with sub-agents.
    """
    told: list[Delta] = []
    texts: dict[str, list[str]] = {}
    parts: list[Any] = []
    for delta in deltas:
        if delta.kind == "text":
            texts.setdefault(delta.payload["id"], []).append(delta.payload["text"])
            continue
        if delta.kind == "stream":
            parts += delta.payload["parts"]
            if len(parts) < PARTS_AT_ONCE:
                continue
            told += _joined(texts, parts)
        else:
            told += [*_joined(texts, parts), delta]
        texts, parts = {}, []
    return told + _joined(texts, parts)


def _joined(texts: Mapping[str, list[str]], parts: list[Any]) -> list[Delta]:
    told = [Delta(kind="text", payload={"id": id_, "text": "".join(pieces)}) for id_, pieces in texts.items()]
    return [*told, Delta(kind="stream", payload={"parts": _without_repeats(parts)})] if parts else told


def _without_repeats(parts: list[Any]) -> list[Any]:
    """The metadata of a message's piece is left out if the piece before it in the same row has the same."""
    told: list[Any] = []
    known: Any = None
    for part, place, data in parts:
        if part == "messages" and isinstance(data, list) and len(data) == 2:
            same = data[1] is not None and data[1] == known
            known = known if data[1] is None else data[1]
            told.append([part, place, [data[0], None] if same else data])
        else:
            told.append([part, place, data])
    return told
