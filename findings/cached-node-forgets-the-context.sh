#!/bin/bash
# One would guess: a node with a CachePolicy is run again where what it is given differs: its state, or the run's context
#   (model, language, user), which LangGraph's own type check makes a declared input of the graph.
# What happens: the key of the cache is the state alone. The run's context, its config and its store are not in it, so a run
#   with another context gets the answer that was made for the first one, marked as cached for whoever looks at the stream
#   and as nothing for whoever reads the state. On a worker that many users share the first one decides for all, until
#   the entry's time is over. A `key_func` of one's own does not help: it is given the same state and nothing else.
# Version: langgraph 1.2.24, langgraph-checkpoint 4.3.2.
# Source: langgraph/pregel/_algo.py prepare_single_task (the key is made of `key_func(val)`), langgraph/_internal/_cache.py
#   default_cache_key.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph==1.2.24 langgraph-checkpoint==4.3.2
cat > "$work/seen.py" <<'PY'
from dataclasses import dataclass
from typing import TypedDict

from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import CachePolicy

class State(TypedDict):
    question: str
    answer: str

@dataclass
class Context:
    language: str

given_to_key = []

def key(*args, **named):
    given_to_key.append((args, named))
    return repr((args, named)).encode()

def answers(policy):
    def answer(state: State, runtime: Runtime[Context]):
        return {"answer": f"{state['question']} in {runtime.context.language}"}

    graph = StateGraph(State, context_schema=Context)
    graph.add_node("answer", answer, cache_policy=policy)
    graph.add_edge(START, "answer")
    app = graph.compile(cache=InMemoryCache())
    return [app.invoke({"question": "hello"}, context=Context(language=one))["answer"] for one in ("French", "German")]

seen = {"default key": answers(CachePolicy(ttl=60)), "key_func of one's own": answers(CachePolicy(ttl=60, key_func=key))}
for name, found in seen.items():
    print(f"{name}: the run in French got '{found[0]}', the run in German got '{found[1]}'")
print("key_func was given", given_to_key[0])
same = all(found == ["hello in French"] * 2 for found in seen.values()) and "French" not in repr(given_to_key)
raise SystemExit(0 if same else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
