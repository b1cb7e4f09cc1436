#!/bin/bash
# One would guess: how a graph is read (its values, its updates, its events) changes what the reader gets, and not whether the
#   graph runs: the events of a graph that works can be followed.
# What happens: LangGraph runs the nodes of a graph by `astream` in place of `ainvoke` as soon as a callback of the class that
#   streams is there, as that of astream_events is. A node written as a plain generator function (it yields its update) then
#   raises TypeError, "Cannot stream from a generator function asynchronously", in a graph that ainvoke and astream run. So
#   a graph passes its tests by ainvoke and fails behind a server that follows its events, whoever its user is.
# Version: langgraph 1.2.24, langchain-core 1.8.3.
# Source: langgraph/pregel/main.py Pregel.astream (`do_stream`); langchain_core/runnables/base.py RunnableLambda._atransform.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph==1.2.24 langchain-core==1.8.3
cat > "$work/seen.py" <<'PY'
import asyncio
from langgraph.graph import START, MessagesState, StateGraph


def steps(state):
    yield {"messages": [("ai", "half")]}
    yield {"messages": [("ai", "whole")]}


graph = StateGraph(MessagesState).add_node("steps", steps).add_edge(START, "steps").compile()
given = {"messages": [("human", "hi")]}


async def invoked():
    return (await graph.ainvoke(given))["messages"][-1].content


async def streamed():
    return [values async for values in graph.astream(given, stream_mode="values")][-1]["messages"][-1].content


async def followed():
    return [event async for event in graph.astream_events(given, version="v2")][-1]["data"]


async def main():
    seen = {}
    for read in (invoked, streamed, followed):
        try:
            seen[read.__name__] = await read()
        except TypeError as error:
            seen[read.__name__] = f"{type(error).__name__}: {error}".partition(".")[0]
        print(f"{read.__name__:9} {seen[read.__name__]}")
    assert seen == {
        "invoked": "whole", "streamed": "whole",
        "followed": "TypeError: Cannot stream from a generator function asynchronously",
    }, seen
    print("as described")


asyncio.run(main())
PY
"$work/venv/bin/python" "$work/seen.py"
