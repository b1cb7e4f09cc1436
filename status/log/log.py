"""The log of an execution. Status = fold(log), at every read (law L6).

A row records one thing that happened. It is a `Delta` before it has a number, and a `LogRow` after. `State` is the
result of all rows so far; `render` turns it into the published contract's status.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent_runner.status.log.render import render, rfc3339
from agent_runner.status.log.state import Json, LogRow, State
from agent_runner.status.log.stream.message_pieces import packed, parts_in

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
            one = delta.payload["parts"]
            parts += one if len(one) == 1 else parts_in(delta.payload)
            if len(parts) < PARTS_AT_ONCE:
                continue
            told += _joined(texts, parts)
        else:
            told += [*_joined(texts, parts), delta]
        texts, parts = {}, []
    return told + _joined(texts, parts)


def _joined(texts: Mapping[str, list[str]], parts: list[Any]) -> list[Delta]:
    told = [Delta(kind="text", payload={"id": id_, "text": "".join(pieces)}) for id_, pieces in texts.items()]
    return [*told, Delta(kind="stream", payload={"parts": packed(parts)})] if parts else told
