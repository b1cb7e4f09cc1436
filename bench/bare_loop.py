"""The bare baseline within a process: a loop over LangGraph's stream that does nothing with what comes.

    python -m bench.bare_loop GRAPH MESSAGE TIMES     prints {"cpu_s", "events", "chunk_s"}: of all runs together, and
                                                      how long each stamped chunk took from the model to the loop

It reads `astream_events`, as whoever wants all that a run does would do without Agent Runner. The worker has the same
events from callbacks, which costs less. What `astream` with chunks of messages alone costs is measured beside it:

    python -m bench.bare_loop GRAPH MESSAGE TIMES messages
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from bench.graphs import tokens, tools

EVENTS, MESSAGES = "events", "messages"
GRAPHS: dict[str, Any] = {"tokens": tokens.graph, "tools": tools.graph}


def items(graph: str, message: str, stream: str = EVENTS) -> AsyncIterator[Any]:
    """What LangGraph gives for a run of `graph`."""
    given, config = {"messages": [HumanMessage(message)]}, RunnableConfig(recursion_limit=1000)
    if stream == MESSAGES:
        chunks: AsyncIterator[Any] = GRAPHS[graph].astream(given, config, stream_mode="messages")
        return chunks
    events: AsyncIterator[Any] = GRAPHS[graph].astream_events(given, config, version="v2")
    return events


async def read(graph: str, message: str, stream: str = EVENTS) -> int:
    """Run the graph and count what comes."""
    return len([None async for _ in items(graph, message, stream)])


def chunk_text(item: Any) -> str:
    """The text of a chunk of a model; empty for everything else."""
    return str(item["data"]["chunk"].content) if item["event"] == "on_chat_model_stream" else ""


async def _chunk_times(message: str) -> list[float]:
    texts = [(chunk_text(item), time.monotonic_ns()) async for item in items("tokens", message)]
    return [(at - int(text)) / 1e9 for text, at in texts if text]


async def _measure(graph: str, message: str, times: int, stream: str = EVENTS) -> dict[str, Any]:
    await read(graph, message, stream)
    events, began = 0, time.process_time()
    for _ in range(times):
        events += await read(graph, message, stream)
    cpu_s = time.process_time() - began
    stamped = graph == "tokens" and json.loads(message).get("stamped")
    return {"cpu_s": cpu_s, "events": events, "chunk_s": await _chunk_times(message) if stamped else []}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:]))))
