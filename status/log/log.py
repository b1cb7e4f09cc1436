"""The log of an execution. Status = fold(log), at every read (law L6).

A row records one thing that happened. It is a `Delta` before it has a number, and a `LogRow` after. `State` is the
result of all rows so far; `render` turns it into the published contract's status.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent_runner.status.log.render import render, rfc3339
from agent_runner.status.log.state import Json, LogRow, State

__all__ = ["Delta", "LogRow", "State", "coalesce", "fold", "render", "rfc3339"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One thing that happened, before it has a number. `payload` is plain JSON; its keys depend on the kind."""

    kind: str
    payload: Json


def fold(rows: Iterable[LogRow], start: State | None = None) -> State:
    """The state after all rows. `start` is a state from a snapshot; it is changed in place."""
    state = State.empty() if start is None else start
    for row in rows:
        state.apply(row)
    return state


def coalesce(deltas: Iterable[Delta]) -> list[Delta]:
    """The same content in fewer deltas: between two deltas of other kinds, all text of one message becomes one delta.

    This also holds when several messages grow at the same time, as with sub-agents.
    """
    told: list[Delta] = []
    texts: dict[str, list[str]] = {}
    for delta in deltas:
        if delta.kind == "text":
            texts.setdefault(delta.payload["id"], []).append(delta.payload["text"])
            continue
        told += _joined(texts)
        texts = {}
        told.append(delta)
    return told + _joined(texts)


def _joined(texts: Mapping[str, list[str]]) -> list[Delta]:
    return [Delta(kind="text", payload={"id": id_, "text": "".join(pieces)}) for id_, pieces in texts.items()]
