"""The log of an execution. Status = fold(log), at every read (law L6).

A row says one thing that happened (`Delta` before it has a number, `LogRow` after); `State` is what all rows so far
amount to, and `render` shows it as the published contract's status.
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
    """All rows as one state. `start` is read back from a snapshot and is changed."""
    state = State.empty() if start is None else start
    for row in rows:
        state.apply(row)
    return state


def coalesce(deltas: Iterable[Delta]) -> list[Delta]:
    """The same story in fewer deltas: between two other things, all text of one message becomes one delta.

    Texts of different messages do not touch each other, so sub-agents that speak at the same time are merged too.
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
