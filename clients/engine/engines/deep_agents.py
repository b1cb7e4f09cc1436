"""Builds an agent with deepagents: planning, files, commands and sub-agents over the current run's sandbox."""

from collections.abc import Sequence
from typing import Any, cast

from deepagents import SubAgent, create_deep_agent
from deepagents.backends import StateBackend
from deepagents.backends.protocol import BackendProtocol
from deepagents.middleware.filesystem import FilesystemMiddleware
from langchain.agents.middleware import AgentMiddleware, TodoListMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.contain import guard_nodes
from agent_runner.clients.engine.engines.execute_tool import execute_tool
from agent_runner.clients.engine.engines.media_tokens import summaries
from agent_runner.clients.engine.engines.parts import guards, prompt_of, served, sub_agents_of
from agent_runner.clients.engine.engines.sandbox_backend import CurrentSandboxBackend
from agent_runner.clients.engine.memory.state.serializer import remembering
from agent_runner.clients.engine.user_graphs.half_imports import bear_half_imports
from agent_runner.clients.models.order.fallbacks import ModelOrder


def build_deep_agent(
    bundle: Bundle,
    model: BaseChatModel,
    saver: BaseCheckpointSaver[Any] | None,
    *,
    order: ModelOrder | None = None,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """A graph that holds nothing of one run, so concurrent runs may share it. Takes tens of milliseconds of CPU.

    `order`: the models that are asked, one after the other; without it `model` alone. Without a sandbox there are no
    commands, and files are kept in the conversation's state.
    """
    bear_half_imports()
    backend: BackendProtocol = CurrentSandboxBackend() if bundle.sandboxed else StateBackend()
    own: list[BaseTool] = [execute_tool()] if bundle.sandboxed else []
    tools, specs = served(bundle), sub_agents_of(bundle)
    graph = create_deep_agent(
        model,
        [*own, *(tools[one] for one in bundle.tools)],
        system_prompt=prompt_of(bundle),
        subagents=[
            SubAgent(
                name=spec.name,
                description=spec.description or spec.name,
                system_prompt=prompt_of(bundle, spec),
                tools=[*own, *(tools[one] for one in spec.tools)],
                middleware=list(_around(model, backend, guards(bundle, order))),
            )
            for spec in specs.values()
        ],
        backend=backend,
        middleware=[
            TodoListMiddleware(),
            *_around(model, backend, guards(bundle, order, frozenset(specs), main=True)),
        ],
        checkpointer=saver,
    )
    if saver is not None:
        graph = graph.copy(update={"checkpointer": remembering(saver, graph)})
    guard_nodes(graph)
    return cast("CompiledStateGraph[Any, Any, Any, Any]", graph)


def _around(
    model: BaseChatModel, backend: BackendProtocol, guards: Sequence[AgentMiddleware[Any, Any]]
) -> Sequence[AgentMiddleware[Any, Any]]:
    """The file tools, the summaries and our guards. deepagents' own `execute` calls a failed command a success."""
    files = FilesystemMiddleware(
        backend=backend, tools=["ls", "read_file", "write_file", "edit_file", "delete", "glob", "grep"]
    )
    return (files, summaries(model, backend), *guards)
