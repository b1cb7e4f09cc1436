"""Builds an agent with graphton, whose environment is one of its own: it needs another deepagents than our default.

What graphton does besides building agents is kept away from the worker:
- the model is an instance of this graph alone: graphton hangs a callback on it at each build, which costs a thread
  switch for each token, and it asks a registry in the network about a model's name;
- tools of MCP servers come as tools: with `mcp_servers` it patches the event loop of the whole process;
- commands and files are those of our sandbox: its own sandbox is the worker's host with the worker's environment;
- approvals are ours: with its `approval_checker` a fourth sub-agent at a time ends the run with an AttributeError.

Its middleware keeps what it counts on the instance, so each run has a graph of its own.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from graphton import create_deep_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.contain import guard_nodes
from agent_runner.clients.engine.engines.execute_tool import execute_tool
from agent_runner.clients.engine.engines.file_tools import file_tools
from agent_runner.clients.engine.engines.parts import guards, prompt_of, served, sub_agents_of
from agent_runner.clients.engine.memory.state.serializer import remembering
from agent_runner.clients.engine.user_graphs.half_imports import bear_half_imports
from agent_runner.clients.engine.user_graphs.run_context import RECURSION_LIMIT
from agent_runner.clients.models.order.fallbacks import ModelOrder

MODEL_PROMPT = "You are an agent. Your instructions:"
SHORTEST_PROMPT = 10
"""Characters; graphton refuses shorter instructions."""


class OwnTools(AgentMiddleware[Any, Any, Any]):
    """Gives the model our `execute`. deepagents takes each tool of that name away where its own backend runs no
    commands, and that one has no sandbox."""

    def __init__(self, execute: BaseTool) -> None:
        super().__init__()
        self._execute = execute

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        return await handler(request.override(tools=[*request.tools, self._execute]))


def build_graphton_agent(
    bundle: Bundle,
    model: BaseChatModel,
    saver: BaseCheckpointSaver[Any] | None,
    *,
    order: ModelOrder | None = None,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """A graph for one run. Takes tenths of a second of CPU: call it from a thread.

    `order`, and what there is without a sandbox: as with the engine `deepagents`.
    """
    bear_half_imports()
    execute = execute_tool()
    own: list[BaseTool] = [execute, *file_tools()] if bundle.sandboxed else []
    tools, specs = served(bundle), sub_agents_of(bundle)

    def around(names: frozenset[str] = frozenset(), *, main: bool = False) -> Sequence[AgentMiddleware[Any, Any]]:
        shown = [OwnTools(execute)] if bundle.sandboxed else []
        return (*shown, *guards(bundle, order, names, main=main))

    model = model.model_copy(update={"callbacks": None})
    graph = create_deep_agent(
        model=model,
        system_prompt=_long_enough(prompt_of(bundle)),
        tools=[*own, *(tools[one] for one in bundle.tools)],
        subagents=[
            {
                "name": spec.name,
                "description": spec.description or spec.name,
                "system_prompt": _long_enough(prompt_of(bundle, spec)),
                "tools": [*own, *(tools[one] for one in spec.tools)],
                "middleware": list(around()),
            }
            for spec in specs.values()
        ],
        middleware=list(around(frozenset(specs), main=True)),
        recursion_limit=RECURSION_LIMIT,
        checkpointer=saver,
    )
    model.callbacks = None
    if saver is not None:
        graph = graph.copy(update={"checkpointer": remembering(saver, graph)})
    guard_nodes(graph)
    return cast("CompiledStateGraph[Any, Any, Any, Any]", graph)


def _long_enough(prompt: str) -> str:
    return prompt if len(prompt) >= SHORTEST_PROMPT else f"{MODEL_PROMPT} {prompt or 'do what you are asked.'}"
