"""Where the events of a run come from: LangGraph's own `astream_events`, or callbacks that give the same, cheaper."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.utils.uuid import uuid7

from agent_runner.clients.engine.stream.event_handler import EventHandler, GiveWay, WrongTurns
from agent_runner.clients.engine.stream.event_queue import EventQueue, Raw
from agent_runner.clients.engine.stream.message_callbacks import MessageCallbacks

Source = Callable[..., AsyncGenerator[Raw, None]]
"""`source(graph, graph_input, config, **options)`: the events; `options` go to the graph's `astream`."""


async def all_events(graph: Any, graph_input: Any, config: RunnableConfig, **options: Any) -> AsyncGenerator[Raw, None]:
    """Everything that `astream_events` gives, and the wrong turns."""
    turns = WrongTurns()
    config = {**config, "callbacks": with_handlers(config.get("callbacks"), turns)}
    async with aclosing(graph.astream_events(graph_input, config, version="v2", **options)) as raw_events:
        async for raw in raw_events:
            yield raw
            while turns.told:
                yield turns.told.popleft()


async def read_events(
    graph: Any, graph_input: Any, config: RunnableConfig, *, messages: bool = False, **options: Any
) -> AsyncGenerator[Raw, None]:
    """Those of them that `V2Events` reads, in the same order. The graph runs in a task of its own, which is over when
    this is. `messages`: also the parts of the stream mode `messages`, which is not among the graph's own."""
    queue, config = EventQueue(), ensure_config(config)
    root = config["run_id"] = config.get("run_id") or uuid7()
    handler = EventHandler(queue.put, root)
    beside = [MessageCallbacks(handler.streamed)] if messages else []
    config["callbacks"] = with_handlers(config.get("callbacks"), handler, *beside, GiveWay(queue))

    async def run() -> None:
        async with aclosing(graph.astream(graph_input, config, **options)) as chunks:
            async for chunk in chunks:
                handler.streamed(chunk)

    running = asyncio.create_task(run())
    running.add_done_callback(lambda _: queue.wake())
    try:
        while not running.done():
            await queue.wait()
            for raw in queue.taken():
                yield raw
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running  # once: a task that is awaited again raises its exception without the traceback


def with_handlers(callbacks: Any, *handlers: BaseCallbackHandler) -> Any:
    """The callbacks of a config, which are a list, a manager, or none, and these behind them: an answer of a model that
    another callback refuses is none, and no event tells it."""
    if not isinstance(callbacks, BaseCallbackManager):
        return [*(callbacks or ()), *handlers]
    callbacks = callbacks.copy()
    for handler in handlers:
        callbacks.add_handler(handler, inherit=True)
    return callbacks
