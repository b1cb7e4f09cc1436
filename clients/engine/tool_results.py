"""Results of tool calls, kept as they come in, beside the checkpoint of the step that made the calls.

A node that makes several calls at once (LangGraph's `ToolNode` on an edge of its own) is one task: LangGraph keeps what
it did when all of them are done. A run that ends before that would forget that a mail was sent.
"""

import asyncio
import uuid
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver

CHANNEL = "agent-runner:tool-result"
"""No channel of any graph: LangGraph passes over it."""
_SEND = "__pregel_push"
_NAMES = UUID("5e0e2a36-8f0c-4f0a-9d6b-0a4f6a1f2c11")


class ToolResults(AsyncCallbackHandler):
    """Belongs to one call of a graph and to the loop that it is made on."""

    ignore_llm = ignore_chat_model = ignore_chain = ignore_retriever = ignore_retry = ignore_custom_event = True
    run_inline = True

    def __init__(self) -> None:
        self._open: dict[UUID, dict[str, Any]] = {}
        self._loop = asyncio.get_running_loop()

    async def on_tool_start(self, *_: Any, run_id: UUID, metadata: dict[str, Any] | None = None, **__: Any) -> None:
        path = (metadata or {}).get("langgraph_path") or ()
        place = (var_child_runnable_config.get() or {}).get("configurable") or {}
        if path and path[0] != _SEND and place.get("__pregel_checkpointer") is not None:
            self._open[run_id] = place

    async def on_tool_error(self, *_: Any, run_id: UUID, **__: Any) -> None:
        self._open.pop(run_id, None)

    async def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        place = self._open.pop(run_id, None)
        if place is None or not isinstance(output, ToolMessage) or not output.tool_call_id:
            return
        work = _keep(place, output)
        if asyncio.get_running_loop() is self._loop:
            await work
        else:
            # A tool that a blocking node calls: its callbacks have a loop of their own.
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


async def _keep(place: dict[str, Any], message: ToolMessage) -> None:
    saver = place["__pregel_checkpointer"]
    namespace = str(place.get("checkpoint_ns", "")).rpartition("|")[0]
    checkpoint = (place.get("checkpoint_map") or {}).get(namespace)
    if not isinstance(saver, BaseCheckpointSaver) or not checkpoint:
        return
    config = RunnableConfig(
        configurable={"thread_id": place["thread_id"], "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
    )
    task = str(uuid.uuid5(_NAMES, message.tool_call_id))
    await saver.aput_writes(config, [(CHANNEL, message)], task)


async def recorded(saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> dict[str, ToolMessage]:
    """What is kept beside that checkpoint, by the call's id."""
    found = await saver.aget_tuple({"configurable": config["configurable"]})
    writes = found.pending_writes or [] if found else []
    kept = [value for _, channel, value in writes if channel == CHANNEL]
    return {message.tool_call_id: message for message in kept if isinstance(message, ToolMessage)}
