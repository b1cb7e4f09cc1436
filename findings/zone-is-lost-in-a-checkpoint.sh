#!/bin/bash
# One would guess: a datetime in a graph's state is the same value after a checkpoint. LangGraph's serializer says that it keeps
#   datetimes, the two compare as equal, and it has a form of its own for ZoneInfo.
# What happens: the zone becomes the offset that it had at that moment. The value still compares as equal, so no test sees it,
#   until a node reckons with it: 9:00 in Berlin and a day, over the last Sunday of October, is 9:00 in a run that goes through
#   and 8:00 where a checkpoint (a question to a person, a retry, the next turn) is in between. A datetime.time
#   beside it keeps its zone. No error and no log line.
# Version: langgraph 1.2.24, langgraph-checkpoint 4.3.2.
# Source: langgraph/checkpoint/serde/jsonplus.py _msgpack_default: a datetime is written as its isoformat(), which has the offset
#   and not the zone's name; a time as its parts, of which the zone is one.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph==1.2.24 langgraph-checkpoint==4.3.2 tzdata==2026.2
cat > "$work/seen.py" <<'PY'
from datetime import UTC, datetime, time, timedelta
from importlib.metadata import version
from typing import TypedDict
from zoneinfo import ZoneInfo

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

BERLIN = ZoneInfo("Europe/Berlin")

class State(TypedDict, total=False):
    asks: bool
    meets: datetime
    opens: time
    next: datetime

def plan(state: State) -> State:
    return {"meets": datetime(2026, 10, 24, 9, 0, tzinfo=BERLIN), "opens": time(9, 0, tzinfo=BERLIN)}

def confirm(state: State) -> State:
    if state.get("asks"):
        interrupt("shall it be every day?")
    return {"next": state["meets"] + timedelta(days=1)}

builder = StateGraph(State)
builder.add_node("plan", plan)
builder.add_node("confirm", confirm)
builder.add_edge(START, "plan")
builder.add_edge("plan", "confirm")
graph = builder.compile(checkpointer=InMemorySaver())

through = graph.invoke({}, {"configurable": {"thread_id": "through"}})
asked = {"configurable": {"thread_id": "asked"}}
graph.invoke({"asks": True}, asked)
after = graph.invoke(Command(resume="yes"), asked)

def local(value):
    return value["next"].astimezone(BERLIN).strftime("%H:%M")

name = f"langgraph-checkpoint {version('langgraph-checkpoint')}"
print(f"{name}: the next day without a question: {local(through)}, after a question: {local(after)}")
print(f"{name}: equal: {through['meets'] == after['meets']}; zones: {through['meets'].tzinfo}, {after['meets'].tzinfo}; a time's: {after['opens'].tzinfo}")
seen = (local(through), local(after), through["meets"] == after["meets"], after["opens"].tzinfo == BERLIN)
raise SystemExit(0 if seen == ("09:00", "08:00", True, True) else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
