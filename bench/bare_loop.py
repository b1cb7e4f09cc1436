"""The bare baseline within a process: a loop over LangGraph's stream that does nothing with what comes.

    python -m bench.bare_loop GRAPH MESSAGE TIMES     prints {"cpu_s", "events", "chunk_s"}: of all runs together, and
                                                      how long each stamped chunk took from the model to the loop

It reads the graph by the same call as the worker does, so that a ratio shows what Agent Runner adds and not which of
LangGraph's streams was chosen.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from agent_runner.tasks.run import execution
from bench.graphs import tokens, tools

GRAPHS: dict[str, Any] = {"tokens": tokens.graph, "tools": tools.graph}
IS_FAST = vars(execution)["run_events"].__module__ == "agent_runner.clients.engine.stream.fast_stream"


def items(graph: str, message: str) -> AsyncIterator[Any]:
    """What LangGraph gives for a run of `graph`."""
    given, config = {"messages": [HumanMessage(message)]}, RunnableConfig(recursion_limit=1000)
    if IS_FAST:
        modes = ["messages", "tasks", "updates"]
        fast: AsyncIterator[Any] = GRAPHS[graph].astream(given, config, stream_mode=modes, subgraphs=True, version="v2")
        return fast
    events: AsyncIterator[Any] = GRAPHS[graph].astream_events(given, config, version="v2")
    return events


async def read(graph: str, message: str) -> int:
    """Run the graph and count what comes."""
    return len([None async for _ in items(graph, message)])


def chunk_text(item: Any) -> str:
    """The text of a chunk of a model; empty for everything else."""
    if IS_FAST:
        return str(item["data"][0].content) if item["type"] == "messages" else ""
    return str(item["data"]["chunk"].content) if item["event"] == "on_chat_model_stream" else ""


async def _chunk_times(message: str) -> list[float]:
    texts = [(chunk_text(item), time.monotonic_ns()) async for item in items("tokens", message)]
    return [(at - int(text)) / 1e9 for text, at in texts if text]


async def _measure(graph: str, message: str, times: int) -> dict[str, Any]:
    await read(graph, message)
    events, began = 0, time.process_time()
    for _ in range(times):
        events += await read(graph, message)
    cpu_s = time.process_time() - began
    stamped = graph == "tokens" and json.loads(message).get("stamped")
    return {"cpu_s": cpu_s, "events": events, "chunk_s": await _chunk_times(message) if stamped else []}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
