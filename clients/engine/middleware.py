"""What stands around every model and tool call of an agent and of its sub-agents.

The gate: each call first waits for the current run's gate, so that a run which nobody answers starts nothing new.
Tool errors: an exception of a tool becomes a failed tool message, masked, and the agent goes on. What ends the run
still ends it: an interrupt, a drain, `StopRun`, and everything that is no Exception.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from clients.engine.contain import contained
from clients.engine.current import StopRun, current_run
from clients.masking import Mask

NO_DESCRIPTION = "The call was not made."


class RunGuard(AgentMiddleware[Any, Any, Any]):
    """`sub_agents`: the names that `task` knows; a call for another one fails instead of answering with a hint."""

    def __init__(self, sub_agents: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._sub_agents = sub_agents

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        await pass_gate()
        return await handler(request)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        await pass_gate()
        call = request.tool_call
        if call["name"] == "task" and (unknown := self._unknown_sub_agent(call["args"])):
            return _failed(call, unknown)
        try:
            async with contained():
                result = await handler(request)
        except (GraphBubbleUp, StopRun):
            raise
        except Exception as error:
            return _failed(call, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        return _masked(result)

    def _unknown_sub_agent(self, args: dict[str, Any]) -> str:
        asked = args.get("subagent_type")
        if not self._sub_agents or not isinstance(asked, str) or asked in self._sub_agents:
            return ""
        return f"There is no sub-agent '{asked}'. There are: {', '.join(sorted(self._sub_agents))}. {NO_DESCRIPTION}"


class GateHandler(AsyncCallbackHandler):
    """The gate for graphs that we did not build: awaited at the start of each model and tool call."""

    raise_error = True
    run_inline = True
    # Not called for tokens: that would cost each of them a turn of the loop.
    ignore_llm = True
    ignore_chain = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    async def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        await pass_gate()

    async def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        await pass_gate()


async def pass_gate() -> None:
    """Wait for the current run's gate; outside of a run there is none."""
    run = current_run()
    if run is not None:
        await run.gate()


def _failed(call: Any, text: str) -> ToolMessage:
    run = current_run()
    shown = run.mask(text) if run else text
    return ToolMessage(content=f"Error: {shown}", name=call["name"], tool_call_id=call["id"], status="error")


def _masked(result: ToolMessage | Command[Any]) -> ToolMessage | Command[Any]:
    """Tools of the sandbox mask by themselves; this is for all others."""
    run = current_run()
    if run is None or not run.mask:
        return result
    if isinstance(result, ToolMessage):
        return _masked_message(run.mask, result)
    if isinstance(result.update, dict) and isinstance(said := result.update.get("messages"), list):
        masked = [_masked_message(run.mask, one) if isinstance(one, ToolMessage) else one for one in said]
        return replace(result, update={**result.update, "messages": masked})
    return result


def _masked_message(mask: Mask, message: ToolMessage) -> ToolMessage:
    """The content and what the tool keeps beside it: both are written into checkpoints."""
    update = {"content": mask.within(message.content), "artifact": mask.within(message.artifact)}
    same = update["content"] == message.content and update["artifact"] == message.artifact
    return message if same else message.model_copy(update=update)
