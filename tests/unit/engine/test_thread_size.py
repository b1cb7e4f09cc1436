"""How much a thread's memory takes, on both databases."""

import uuid
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph

from agent_runner.clients.engine.inspection.thread_size import thread_size
from agent_runner.clients.engine.memory.checkpoints import Memory, open_saver
from tests.unit.engine.stores import url

__all__ = ["url"]
LONG = "not the same twice: " + "".join(str(uuid.uuid4()) for _ in range(200))
"""Postgres compresses what repeats itself."""


class State(TypedDict, total=False):
    kept: list[str]
    log: Annotated[list[str], lambda before, new: before + new]


async def turn(memory: Memory, thread: str, kept: str) -> None:
    def add(state: State) -> State:
        return {"log": ["one more"]}

    graph: Any = StateGraph(State).add_node("add", add).add_edge(START, "add").compile(checkpointer=memory.saver)
    await graph.ainvoke({"kept": [kept]}, {"configurable": {"thread_id": thread}})


async def test_the_parts_of_a_thread_add_up(url: str) -> None:
    """Checkpoints, values by channel and writes; the large value is its channel's, another thread's is not counted."""
    async with await open_saver(url) as memory:
        nothing = await thread_size(memory.saver, "t1")
        assert (nothing["total_bytes"], nothing["channel_values"]["by_channel"]) == (0, {})
        await turn(memory, "t1", "short")
        await turn(memory, "t2", LONG)
        small, large = [await thread_size(memory.saver, thread) for thread in ("t1", "t2")]
        for told in (small, large):
            parts = [told[part] for part in ("checkpoints", "channel_values", "pending_writes")]
            assert told["total_bytes"] == sum(part["bytes"] for part in parts)
            assert all(part["count"] > 0 for part in parts)
        of = large["channel_values"]["by_channel"]
        assert of["kept"]["bytes"] >= len(LONG) * 0.5
        assert of["kept"]["versions"] == 1
        assert small["channel_values"]["by_channel"]["kept"]["bytes"] < 100
        assert small["checkpoints"]["count"] == large["checkpoints"]["count"] == 3
        assert large["checkpoints"]["bytes"] < len(LONG)


async def test_what_is_gone_is_not_counted(url: str) -> None:
    """After its memory is removed a thread takes nothing."""
    async with await open_saver(url) as memory:
        await turn(memory, "t1", "short")
        await memory.prune("t1", "")
        assert (await thread_size(memory.saver, "t1"))["total_bytes"] == 0
