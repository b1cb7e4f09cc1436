"""What stands around every model and tool call of an agent and of its sub-agents.

The gate: each call first waits for the current run's gate, so that a run which nobody answers starts nothing new.
Malformed tool calls: a model that gives nothing else is told, and asked again, a few times.
Tool errors: an exception of a tool becomes a failed tool message, masked, and the agent goes on. What ends the run
still ends it: an interrupt, a drain, `StopRun`, and everything that is no Exception.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from clients.engine.contain import contained
from clients.engine.current import StopRun, current_run
from clients.masking import Mask
from clients.models.errors import ModelError

NO_DESCRIPTION = "The call was not made."
OUT_OF_TOKENS = frozenset({"length", "max_tokens"})
CUT_OFF = f"the model ran out of tokens in the middle of this call. {NO_DESCRIPTION} Use shorter arguments."
MALFORMED_MOST = 3
TOO_MALFORMED = f"the model gave tool calls whose arguments are no JSON, {MALFORMED_MOST + 1} times in a row"


class RunGuard(AgentMiddleware[Any, Any, Any]):
    """`sub_agents`: the names that `task` knows; a call for another one fails instead of answering with a hint."""

    def __init__(self, sub_agents: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._sub_agents = sub_agents

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """A model whose only tool calls have arguments that are no JSON is told so and asked again: LangChain would
        take them for the end of the conversation. What it said stays in the history."""
        await pass_gate()
        response = await handler(request)
        said: list[AnyMessage] = []
        for _ in range(MALFORMED_MOST):
            if not (answers := _malformed(response.result)):
                break
            said += [*response.result, *answers]  # type: ignore[list-item]
            await pass_gate()
            response = await handler(request.override(messages=[*request.messages, *said]))
        else:
            if _malformed(response.result):
                raise ModelError(TOO_MALFORMED, "Send the message again, or choose a model that is better with tools.")
        return replace(response, result=[*said, *response.result]) if said else response

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        await pass_gate()
        call = request.tool_call
        if call["name"] == "task" and (unknown := self._unknown_sub_agent(call["args"])):
            return _failed(call, unknown)
        if _cut_off(request):
            return _failed(call, CUT_OFF)
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


def _malformed(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """What to answer to an AI message all of whose tool calls are malformed; nothing to any other."""
    last = messages[-1] if messages else None
    if not isinstance(last, AIMessage) or last.tool_calls:
        return []
    return [
        _failed(
            {"name": call.get("name") or "unknown", "id": call["id"]}, f"the arguments are no JSON. {NO_DESCRIPTION}"
        )
        for call in last.invalid_tool_calls
        if call.get("id")
    ]


def _cut_off(request: ToolCallRequest) -> bool:
    """Whether the model ran out of tokens in this call. LangChain completes its JSON: a cut `rm -rf /work/tmp` is
    then `rm -rf /work`."""
    id = request.tool_call["id"]
    messages: Sequence[BaseMessage] = request.state["messages"] if isinstance(request.state, dict) else ()
    for said in reversed(messages):
        if isinstance(said, AIMessage) and any(call["id"] == id for call in said.tool_calls):
            ended = said.response_metadata.get("finish_reason") or said.response_metadata.get("stop_reason")
            return ended in OUT_OF_TOKENS and said.tool_calls[-1]["id"] == id
    return False


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
