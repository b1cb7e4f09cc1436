#!/bin/bash
# One would guess: a graph that waits at `interrupt()` shows its question in `get_state`, wherever it was asked: `interrupts`
#   of the snapshot, and of the task that asks. Servers and inboxes that look for waiting threads read it there.
# What happens: a question that a node's error handler asks (`add_node(..., error_handler=...)`) is in the answer of
#   `invoke` and in the stream, but not in the state: `interrupts` is empty, `next` names the node that failed, and its
#   task shows the error. The thread looks broken, not waiting. The question is in the checkpoint all the same, and
#   an answer counts, with its id too. Beside a question of another node, which is shown, it is missing as well.
#   Whoever lists open questions has to read the pending writes of the checkpoint.
# Seen: in the node: next ('ask',), interrupts ['Go on?']; in its error handler: next ('work',), interrupts [], task error
#   ValueError('no file'), pending writes ['Go on?']; answered by its id: 'yes'.
# Version: langgraph 1.2.24, langgraph-checkpoint 4.3.2.
# Source: langgraph/pregel/main.py _prepare_state_snapshot: it prepares the next tasks from the channels and takes the writes
#   of those tasks; the task of an error handler is made while a step runs, and is none of them.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph==1.2.24 langgraph-checkpoint==4.3.2
cat > "$work/seen.py" <<'PY'
from typing import TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeError
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict, total=False):
    answer: str


def ask(state):
    return {"answer": interrupt("Go on?")}


def work(state):
    raise ValueError("no file")


def mend(state, error: NodeError):
    return {"answer": interrupt("Go on?")}


in_node = StateGraph(State).add_node("ask", ask).add_edge(START, "ask")
in_handler = StateGraph(State).add_node("work", work, error_handler=mend).add_edge(START, "work")
seen = []
for name, plan in {"in the node": in_node, "in its error handler": in_handler}.items():
    saver = InMemorySaver()
    graph, config = plan.compile(checkpointer=saver), {"configurable": {"thread_id": name}}
    (told,) = graph.invoke({"answer": ""}, config)["__interrupt__"]
    state = graph.get_state(config)
    pending = [q.value for _, channel, asked in saver.get_tuple(config).pending_writes if channel == "__interrupt__" for q in asked]
    shown = [one.value for one in state.interrupts]
    print(f"{name}: invoke told {told.value!r}; next {state.next}, interrupts {shown},",
          f"task errors {[task.error for task in state.tasks]}, pending writes {pending}")
    answered = graph.invoke(Command(resume={told.id: "yes"}), config)["answer"]
    print(f"  answered by its id: {answered!r}")
    seen.append((shown, pending, answered))
raise SystemExit(0 if seen == [(["Go on?"], ["Go on?"], "yes"), ([], ["Go on?"], "yes")] else "it behaves otherwise now")
PY
"$work/venv/bin/python" "$work/seen.py"
