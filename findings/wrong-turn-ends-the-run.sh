#!/bin/bash
# One would guess: a graph that is sent to a node which it does not have fails, as it does at `compile` for an edge (ValueError)
#   and in a run for a route with a path map (KeyError).
# What happens: without a path map the run ends as if it were done. `Command(goto=...)`, `Send` and a conditional edge to a name
#   that no node has are left out, each with one line in the log of warnings; `invoke` returns the state so far. In a list the
#   other targets run, so a fan-out comes back with parts missing. Agents meet it when a model picks the route ("reviewer" was
#   renamed to "review"): whoever watches the run sees a success.
# Version: langgraph 1.2.24.
# Source: langgraph/pregel/_algo.py: a write to a channel that is not there is passed over (`apply_writes`), and so is a packet
#   for an unknown node (`prepare_push_task_send`); both only warn.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph==1.2.24
cat > "$work/seen.py" <<'PY'
import logging
import operator
from importlib.metadata import version
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send

warned: list[str] = []
told = logging.Handler(logging.WARNING)
told.emit = lambda record: warned.append(record.levelname)
logging.getLogger().addHandler(told)

class State(TypedDict):
    did: Annotated[list[str], operator.add]

def end_of(goto: Any = None, edge: Any = None, path_map: Any = None) -> str:
    """What the run of plan -> (goto or edge) -> review says of itself."""
    builder = StateGraph(State)
    builder.add_node("plan", lambda _: Command(goto=goto, update={"did": ["plan"]}) if goto else {"did": ["plan"]})
    builder.add_node("review", lambda _: {"did": ["review"]})
    builder.add_edge(START, "plan")
    builder.add_edge("review", END)
    if edge:
        builder.add_conditional_edges("plan", lambda _: edge, path_map)
    try:
        return "returned " + "+".join(builder.compile().invoke({"did": []})["did"])
    except Exception as error:
        return type(error).__name__

def compiled() -> str:
    builder = StateGraph(State)
    builder.add_node("plan", lambda _: {"did": ["plan"]})
    builder.add_edge(START, "plan")
    builder.add_edge("plan", "reviewer")
    try:
        builder.compile()
    except ValueError as error:
        return type(error).__name__
    return "compiled"

seen = {
    "a fixed edge": compiled(),
    "a route with a map": end_of(edge="reviewer", path_map={"review": "review"}),
    "a route": end_of(edge="reviewer"),
    "goto": end_of(goto="reviewer"),
    "goto a Send": end_of(goto=Send("reviewer", {"did": []})),
    "goto two": end_of(goto=["review", "reviewer"]),
}
for what, end in seen.items():
    print(f"langgraph {version('langgraph')}: {what}, to a node that is not there: {end}")
print(f"warnings in the log: {len(warned)}, {sorted(set(warned))}")
expected = ["ValueError", "KeyError", "returned plan", "returned plan", "returned plan", "returned plan+review"]
raise SystemExit(0 if list(seen.values()) == expected and len(warned) == 4 else f"the behaviour has changed: {seen}, {warned}")
PY
"$work/venv/bin/python" "$work/seen.py"
