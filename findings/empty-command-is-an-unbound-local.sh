#!/bin/bash
# One would guess: a Command that says nothing (resume=None: the person's answer was null, or a client left null fields out)
#   is an empty input, which LangGraph tells with EmptyInputError, as it does for input None in a new thread.
# What happens: Command(resume=None) raises UnboundLocalError from the middle of LangGraph's loop, naming a variable of its own
#   (resume_is_map), also where a question waits. A question can therefore not be answered with null, and whoever reads the
#   error takes it for a bug of the graph. The same for invoke and ainvoke.
# Version: langgraph 1.2.24.
# Source: langgraph/pregel/_loop.py PregelLoop._first: the variable is only bound where `resume` is not None, and read later.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph==1.2.24
cat > "$work/seen.py" <<'PY'
from importlib.metadata import version
from typing import TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

class State(TypedDict, total=False):
    answer: object

def ask(state: State) -> State:
    return {"answer": interrupt("may I?")}

builder = StateGraph(State)
builder.add_node("ask", ask)
builder.add_edge(START, "ask")
graph = builder.compile(checkpointer=InMemorySaver())

def said(thread, given):
    try:
        return str(graph.invoke(given, {"configurable": {"thread_id": thread}}))
    except Exception as error:
        return f"{type(error).__name__}: {error}"

empty = said("new", None)
said("asked", {})
null = said("asked", Command(resume=None))
print(f"langgraph {version('langgraph')}: input None in a new thread: {empty[:60]}")
print(f"langgraph {version('langgraph')}: Command(resume=None) at a question: {null}")
seen = (empty.split(":")[0], null.split(":")[0], "resume_is_map" in null)
raise SystemExit(0 if seen == ("EmptyInputError", "UnboundLocalError", True) else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
