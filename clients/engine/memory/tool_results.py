"""Saves the result of each tool call when it comes in, beside the checkpoint of the step that made the call.

A node that makes several calls at once (LangGraph's `ToolNode` on an edge of its own) is one task. LangGraph saves the
work of a task only when all of its calls are done. A run that ends before that would forget that a mail was sent. The
saved results are put into the history before the next message (`repair.py`), and a run that continues gets them instead
of making the calls again (`finished_calls.py`).
"""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver

from agent_runner.clients.engine.stream.messages import messages_in

CHANNEL = "agent-runner:tool-result"
"""No graph has this channel, so LangGraph ignores it."""
_SEND = "__pregel_push"
_NAMES = UUID("5e0e2a36-8f0c-4f0a-9d6b-0a4f6a1f2c11")


class ToolResults(AsyncCallbackHandler):
    """Saves the results of one call of a graph. Belongs to the event loop on which that call is made."""

    ignore_llm = ignore_chat_model = ignore_chain = ignore_retriever = ignore_retry = ignore_custom_event = True
    run_inline = True

    def __init__(self) -> None:
        self._open: dict[UUID, tuple[str, dict[str, Any]]] = {}
        self._holds_loop: set[UUID] = set()
        """Tool runs whose caller may block our event loop while it waits for them."""
        self._loop = asyncio.get_running_loop()

    def on_tool_start(  # type: ignore[override]  # runs where the tool is called; a coroutine may run elsewhere
        self, *_: Any, run_id: UUID, tool_call_id: str | None = None, metadata: Any = None, **__: Any
    ) -> None:
        path = (metadata or {}).get("langgraph_path") or ()
        place = (var_child_runnable_config.get() or {}).get("configurable") or {}
        if tool_call_id and path and path[0] != _SEND and place.get("__pregel_checkpointer") is not None:
            self._open[run_id] = tool_call_id, place
            if asyncio._get_running_loop() is self._loop:
                self._holds_loop.add(run_id)

    async def on_tool_error(self, *_: Any, run_id: UUID, **__: Any) -> None:
        self._open.pop(run_id, None)
        self._holds_loop.discard(run_id)

    async def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        call, holds_loop = self._open.pop(run_id, None), run_id in self._holds_loop
        self._holds_loop.discard(run_id)
        if call is None:
            return
        work = _keep(*call, output)
        if asyncio.get_running_loop() is self._loop:
            await work
            return
        # The tool was called without await: its callbacks run on a loop of their own.
        written = asyncio.run_coroutine_threadsafe(work, self._loop)
        if not holds_loop:
            await asyncio.wrap_future(written)
        # Otherwise the caller blocks our loop, which can write only after the call has returned.


async def _keep(tool_call_id: str, place: dict[str, Any], output: Any) -> None:
    saver = place["__pregel_checkpointer"]
    namespace = str(place.get("checkpoint_ns", "")).rpartition("|")[0]
    checkpoint = (place.get("checkpoint_map") or {}).get(namespace)
    if not isinstance(saver, BaseCheckpointSaver) or not checkpoint:
        return
    config = RunnableConfig(
        configurable={"thread_id": place["thread_id"], "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
    )
    id = result_id(place, tool_call_id, answered=_answered(place))
    await saver.aput_writes(config, [(CHANNEL, output)], id)


def result_id(place: Mapping[str, Any], tool_call_id: str, *, answered: bool = False) -> str:
    """The id under which the result of a call is saved. `place`: the `configurable` of the config that it is made with.

    LangGraph gives a step's task a new name for each checkpoint, so only the same step finds the result again, also if
    a model uses a call id twice. `answered`: the step had received answers to questions. The call may have asked one of
    these questions, and must ask it again: LangGraph matches answers and questions by counting them. So its result gets
    another id, which a run that continues does not look for.
    """
    return str(uuid.uuid5(_NAMES, f"{place.get('checkpoint_ns', '')} {tool_call_id}{' answered' * answered}"))


def _answered(place: Mapping[str, Any]) -> bool:
    scratchpad = place.get("__pregel_scratchpad")
    return scratchpad is not None and bool(scratchpad.resume or scratchpad.get_null_resume(False) is not None)


async def recorded(saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> dict[str, ToolMessage]:
    """The tool messages that are saved beside that checkpoint, by the call's id."""
    found = await saver.aget_tuple({"configurable": config["configurable"]})
    writes = found.pending_writes or [] if found else []
    kept = [message for _, channel, value in writes if channel == CHANNEL for message in messages_in(value)]
    return {message.tool_call_id: message for message in kept if isinstance(message, ToolMessage)}
