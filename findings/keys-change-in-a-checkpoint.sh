#!/bin/bash
# One would guess: a dict in a graph's state has the same keys in the next turn, or the run that saves it fails: LangGraph's
#   serializer has forms for dates, UUIDs, decimals and sets, and refuses what it has none for.
# What happens: as a *value* each of them comes back; as a *key* it comes back as a text, and a set of tuples as a list of
#   lists. The turn that made them works with them; the next one does not find what it looks up (KeyError, or worse: `get`
#   with a default), counts twice, or has a list where it calls `add`. Keys that are dates and keys that are tuples of texts
#   stand beside each other in the same dict: the tuples are kept.
# Version: langgraph 1.2.24, langgraph-checkpoint 4.3.2.
# Source: langgraph/checkpoint/serde/jsonplus.py: ormsgpack is told to take keys that are no texts (OPT_NON_STR_KEYS), and writes
#   them as it writes JSON's; `default` is not asked for keys. What a constructor refuses at reading is given as its arguments.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph==1.2.24 langgraph-checkpoint==4.3.2
cat > "$work/seen.py" <<'PY'
import logging
from datetime import date
from importlib.metadata import version
from typing import Any, TypedDict
from uuid import UUID

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

logging.disable()
TODAY, USER = date(2026, 11, 30), UUID(int=7)

class State(TypedDict, total=False):
    turn: int
    kept: dict[Any, int]
    pairs: set[tuple[str, str]]
    day: date
    counted: int
    kinds: str

def count(state: State) -> State:
    kept = dict(state.get("kept", {TODAY: 0, USER: 0, ("a", "b"): 0}))
    for key in (TODAY, USER, ("a", "b")):
        kept[key] = kept.get(key, 0) + 1
    pairs = state.get("pairs", {("a", "b")})
    told = {"kept": kept, "counted": kept[TODAY], "pairs": pairs, "day": TODAY}
    return told | {"kinds": f"{type(pairs).__name__} of {type(next(iter(pairs))).__name__}"}

builder = StateGraph(State)
builder.add_node("count", count)
builder.add_edge(START, "count")
graph = builder.compile(checkpointer=InMemorySaver())
session = {"configurable": {"thread_id": "a session"}}
first = graph.invoke({"turn": 1}, session)
second = graph.invoke({"turn": 2}, session)

name = f"langgraph-checkpoint {version('langgraph-checkpoint')}"
print(f"{name}: first turn: counted {first['counted']}, {first['kinds']}")
print(f"{name}: second turn: counted {second['counted']}, {second['kinds']}; keys: {list(second['kept'])}; the date as a value: {second['day']!r}")
texts = {str(TODAY), str(USER)} <= set(second["kept"])
seen = (first["counted"], second["counted"], texts, second["kept"]["a", "b"], second["kinds"], second["day"])
raise SystemExit(0 if seen == (1, 1, True, 2, "list of list", TODAY) else f"the behaviour has changed: {seen}")
PY
"$work/venv/bin/python" "$work/seen.py"
