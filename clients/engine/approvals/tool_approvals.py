"""Asks a person before a tool call runs, by the rules of `status/requests/approvals.py`.

The asking itself is langchain's `HumanInTheLoopMiddleware`, one question for each call. What a session has approved by
rules of the policy `first` is a field of the graph's state. So it is as old as the checkpoint that a run begins at: a
message that comes twice, a fork and a redrive know just what was approved on their own way. Sub-agents get the field
from the agent that called them, and give it back.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentState, HumanInTheLoopMiddleware, InterruptOnConfig
from langchain.agents.middleware.types import OmitFromSchema, ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from agent_runner.clients.models.endings import refused_in
from agent_runner.status.requests.approvals import ApprovalRule

APPROVED = "approved_calls"
"""The field of the state: the keys of the rules whose first call was approved."""


def both(one: Mapping[str, bool] | None, other: Mapping[str, bool] | None) -> dict[str, bool]:
    """What either knows: sub-agents that run at the same time each give back their own."""
    return {**(one or {}), **(other or {})}


class SubAgentState(AgentState[Any]):
    approved_calls: NotRequired[Annotated[dict[str, bool], both]]


class MainState(AgentState[Any]):
    """Nobody can give the field as input, and it is no part of the agent's result."""

    approved_calls: NotRequired[Annotated[dict[str, bool], OmitFromSchema(input=True, output=True), both]]


class ToolApprovals(HumanInTheLoopMiddleware[Any, Any, Any]):
    """Stands before the guard of tool calls: an answer that does not fit is no failed call."""

    def __init__(self, rules: tuple[ApprovalRule, ...], names: frozenset[str], *, main: bool) -> None:
        """`names`: of the tools that may be called. `main`: for the agent itself, not for a sub-agent."""
        asking: dict[str, bool | InterruptOnConfig] = {}
        for name in sorted(names):
            if mine := [rule for rule in rules if rule.of(name)]:
                asking[name] = InterruptOnConfig(
                    allowed_decisions=list(mine[0].allowed),  # type: ignore[arg-type]
                    when=self._asks,
                    **({"description": said} if (said := mine[0].description) else {}),  # type: ignore[typeddict-item]
                )
        super().__init__(asking, interrupt_mode="per_call", description_prefix="This call waits for approval")
        self._rules = rules
        # The field of the base class is for its other mode.
        self.state_schema = MainState if main else SubAgentState  # type: ignore[assignment]

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        asked = self._asking(request)
        ran = False

        async def run(allowed: ToolCallRequest) -> ToolMessage | Command[Any]:
            nonlocal ran
            ran = True
            return await handler(allowed)

        result = await super().awrap_tool_call(request, run)
        keys = {rule.key: True for rule in asked if rule.once}
        return _noting(result, keys) if ran and keys else result

    def _asks(self, request: ToolCallRequest) -> bool:
        return bool(self._asking(request))

    def _asking(self, request: ToolCallRequest) -> list[ApprovalRule]:
        """The rules because of which this call waits for a person. They depend on the state at the beginning of the
        step alone, so they are the same when the call is answered."""
        call, state = request.tool_call, request.state if isinstance(request.state, Mapping) else {}
        if _refused(call["id"], state):
            return []
        known = state.get(APPROVED) or {}
        return [
            rule
            for rule in self._rules
            if rule.matches(call["name"], call["args"]) and not (rule.once and rule.key in known)
        ]


def _refused(call_id: str | None, state: Mapping[str, Any]) -> bool:
    """Whether the call was cut off: it will not run, and nobody has to approve it."""
    for said in reversed(state.get("messages") or ()):
        if isinstance(said, AIMessage) and any(call["id"] == call_id for call in said.tool_calls):
            return any(one.id == call_id for one in refused_in(said))
    return False


def _noting(result: ToolMessage | Command[Any], keys: dict[str, bool]) -> ToolMessage | Command[Any]:
    """The result of the call, which also notes that it was approved."""
    if isinstance(result, ToolMessage):
        return Command(update={"messages": [result], APPROVED: keys})
    if result.update is None or isinstance(result.update, dict):
        update = result.update or {}
        return replace(result, update={**update, APPROVED: both(update.get(APPROVED), keys)})
    return result
