"""The middleware around every model and tool call of an agent and of its sub-agents.

The gate: each call first waits for the current run's gate, so that a run whose gate is closed starts nothing new.
The budget: each call is counted, and one beyond the run's budget ends the run.
Refused tool calls: a call that was cut off, or whose arguments are no JSON, is not run. The model gets an error for it
and is asked again, a few times.
Tool errors: an exception of a tool becomes a failed tool message, masked, and the agent goes on. An interrupt, a drain,
`StopRun` and a BaseException that is no Exception still end the run.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from pydantic import ValidationError

from agent_runner.clients.engine.approvals.budget_question import stopped_by_a_person
from agent_runner.clients.engine.contain import contained
from agent_runner.clients.engine.current import BudgetReached, StopRun, current_run
from agent_runner.clients.engine.stream.messages import model_of, usage_of
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.models.endings import NOT_MADE, reason_of, refused_in, with_refused
from agent_runner.clients.models.errors import ModelError
from agent_runner.clients.models.order.fallbacks import ModelOrder
from agent_runner.clients.models.provider_words import fields_of
from agent_runner.status.log.tool_names import SUB_AGENT_TOOL

REFUSED_MOST = 3
PAUSES_MOST = 8
"""How often a provider's own tools may pause one turn."""


class RunGuard(AgentMiddleware[Any, Any, Any]):
    """`sub_agents`: the names that `task` knows; a call for another one fails instead of answering with a hint.
    `order`: the models to ask, one after the other; without it the graph's own."""

    def __init__(self, sub_agents: frozenset[str] = frozenset(), order: ModelOrder | None = None) -> None:
        super().__init__()
        self._sub_agents = sub_agents
        self._order = order

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Keep refused calls in the message: each gets an error as its result, and the model is asked again. Without
        them LangChain would end the turn. If the provider paused a turn, the model is asked to continue it."""
        if stopped := await _may_ask_the_model():
            return ModelResponse(result=[AIMessage(stopped)])
        response = await self._asked(request, handler)
        _count(response.result)
        said: list[AnyMessage] = []
        for _ in range(PAUSES_MOST):
            if not _paused(response.result):
                break
            said += response.result  # type: ignore[arg-type]
            await _begin_model_call()
            response = await self._asked(request.override(messages=[*request.messages, *said]), handler)
            _count(response.result)
        last = response.result[-1] if response.result else None
        if isinstance(last, AIMessage) and (refused := refused_in(last)):
            refused = [one if one.id else replace(one, id=f"call_{uuid.uuid4().hex[:24]}") for one in refused]
            last = with_refused(last, refused)
            if _only_refused(last):
                _bound([*request.messages, last])
            response = replace(response, result=[*response.result[:-1], last])
        return replace(response, result=[*said, *response.result]) if said else response

    async def _asked(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        run = current_run()
        if self._order is None or run is None:
            return await handler(request)
        return await self._order.answer(
            lambda model: handler(request.override(model=model)), run.failed_models, run.on_failed_model
        )

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        call = request.tool_call
        await _begin_tool_call(call["name"], call["args"])
        if call["name"] == "task" and (unknown := self._unknown_sub_agent(call["args"])):
            return _failed(call, unknown)
        if why := _refusal_of(request):
            return _failed(call, why)
        try:
            async with contained(), _timed(call["name"]):
                result = await handler(request)
        except (GraphBubbleUp, StopRun):
            raise
        except ValidationError as error:  # its own text shows the tool's input, with all of the run's state
            return _failed(call, f"{type(error).__name__}: {fields_of(error)}")
        except Exception as error:
            return _failed(call, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        return await _masked(result)

    def _unknown_sub_agent(self, args: dict[str, Any]) -> str:
        asked = args.get("subagent_type")
        if not self._sub_agents or not isinstance(asked, str) or asked in self._sub_agents:
            return ""
        return f"There is no sub-agent '{asked}'. There are: {', '.join(sorted(self._sub_agents))}. {NOT_MADE}"


class GateHandler(AsyncCallbackHandler):
    """The gate for graphs that we did not build: awaited at the start of each model and tool call."""

    raise_error = True
    run_inline = True
    # Not called for tokens: each token would cost a turn of the event loop.
    ignore_llm = True
    ignore_chain = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    async def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        await _begin_model_call()

    async def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        await _begin_tool_call(str((serialized or {}).get("name", "")), input_str)


async def pass_gate() -> None:
    """Wait for the current run's gate; outside of a run there is none."""
    run = current_run()
    if run is not None:
        await run.gate()


async def _may_ask_the_model() -> str:
    """Counts the call. Returns the agent's last words if a person was asked about its budget and said no."""
    run = current_run()
    if run is None or not run.spent.asks:
        await _begin_model_call()
        return ""
    await pass_gate()
    return stopped_by_a_person(run, run.spent.model_call())


async def _begin_model_call() -> None:
    await pass_gate()
    _stop_if(run.spent.model_call() if (run := current_run()) else "")


async def _begin_tool_call(name: str, args: Any) -> None:
    await pass_gate()
    _stop_if(run.spent.tool_call(name, args) if (run := current_run()) else "")


@asynccontextmanager
async def _timed(name: str) -> AsyncIterator[None]:
    """Counts the time of a tool call, and stops it where the budget for all of them ends. Delegations are left out: the
    calls of the sub-agent are counted themselves."""
    run = current_run()
    if run is None or name == SUB_AGENT_TOOL:
        yield
        return
    left_s, begun = run.spent.tool_left_s(), time.monotonic()
    limit = asyncio.timeout(left_s)
    try:
        async with limit:
            yield
    except TimeoutError:
        if limit.expired():
            run.spent.tool_seconds += time.monotonic() - begun
            raise BudgetReached(run.spent.time_over() or f"the time of tools was up in '{name}'") from None
        raise
    finally:
        if not limit.expired():
            run.spent.tool_seconds += time.monotonic() - begun


def _stop_if(over: str) -> None:
    if over:
        raise BudgetReached(over)


def _count(messages: Sequence[BaseMessage]) -> None:
    if run := current_run():
        for message in messages:
            if isinstance(message, AIMessage):
                run.spent.answered(usage_of(message), model_of(message))


def _paused(messages: Sequence[BaseMessage]) -> bool:
    last = messages[-1] if messages else None
    return isinstance(last, AIMessage) and not last.tool_calls and reason_of(last.response_metadata) == "pause_turn"


def _only_refused(message: BaseMessage) -> bool:
    if not isinstance(message, AIMessage) or not message.tool_calls:
        return False
    refused = {one.id for one in refused_in(message)}
    return all(call["id"] in refused for call in message.tool_calls)


def _bound(messages: Sequence[BaseMessage]) -> None:
    """Raises ModelError if more than REFUSED_MOST answers of the model in a row had only refused calls."""
    times = 0
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            if not _only_refused(message):
                return
            times += 1
        elif not isinstance(message, ToolMessage):
            break
    if times > REFUSED_MOST:
        last = messages[-1]
        why = refused_in(last)[-1].why if isinstance(last, AIMessage) else ""
        raise ModelError(
            f"no tool call of the model could be run, {times} times in a row; the last time: {why}",
            "Send the message again, raise STIGMER_LLM_MAX_TOKENS if the calls are cut off, or choose a model that is"
            " better with tools.",
        )


def _refusal_of(request: ToolCallRequest) -> str:
    """Why this call must not run; empty if it may."""
    id = request.tool_call["id"]
    messages: Sequence[BaseMessage] = request.state["messages"] if isinstance(request.state, dict) else ()
    for said in reversed(messages):
        if isinstance(said, AIMessage) and any(call["id"] == id for call in said.tool_calls):
            return next((one.why for one in refused_in(said) if one.id == id), "")
    return ""


def _failed(call: Any, text: str) -> ToolMessage:
    run = current_run()
    shown = run.mask(text) if run else text
    return ToolMessage(content=f"Error: {shown}", name=call["name"], tool_call_id=call["id"], status="error")


async def _masked(result: ToolMessage | Command[Any]) -> ToolMessage | Command[Any]:
    """Mask the result of a tool. Tools of the sandbox mask their results themselves; this is for all other tools."""
    run = current_run()
    if run is None or not run.mask:
        return result
    if isinstance(result, ToolMessage):
        return await _masked_message(run.mask, result)
    if isinstance(result.update, dict) and isinstance(said := result.update.get("messages"), list):
        masked = [await _masked_message(run.mask, one) if isinstance(one, ToolMessage) else one for one in said]
        return replace(result, update={**result.update, "messages": masked})
    return result


async def _masked_message(mask: Mask, message: ToolMessage) -> ToolMessage:
    """Mask the content and the artifact of a tool message: both are written into checkpoints."""
    update = await mask.within_apart({"content": message.content, "artifact": message.artifact})
    same = update["content"] == message.content and update["artifact"] == message.artifact
    return message if same else message.model_copy(update=update)
