"""Builds an agent with deepagents: planning, files, commands and sub-agents over the current run's sandbox."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, cast

from deepagents import SubAgent, create_deep_agent
from deepagents.backends import StateBackend
from deepagents.backends.protocol import BackendProtocol
from deepagents.middleware.filesystem import FilesystemMiddleware
from langchain.agents.middleware import AgentMiddleware, TodoListMiddleware
from langchain.tools import ToolRuntime
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, Field

from agent_runner.clients.engine.agent_definition import DEFAULT_AGENT, Bundle, SubAgentSpec, ToolSpec
from agent_runner.clients.engine.approvals.tool_approvals import ToolApprovals
from agent_runner.clients.engine.contain import guard_nodes
from agent_runner.clients.engine.memory.serializer import remembering
from agent_runner.clients.engine.middleware import RunGuard
from agent_runner.clients.engine.skills_prompt import skills_prompt
from agent_runner.clients.engine.user_graphs.half_imports import bear_half_imports
from agent_runner.clients.models.order.fallbacks import ModelOrder
from agent_runner.clients.sandbox.backend import CurrentSandboxBackend

GENERAL_PURPOSE = SubAgentSpec(
    name="general-purpose",
    description="Does any delegated task of several steps with the same tools as the main agent.",
    instructions="Do the delegated task. Only your last message is read: put the whole result into it.",
)
SANDBOX_PROMPT = (
    "Commands run in your working directory, which is also your home. In the file tools that directory is `/`: the"
    " file `/notes.txt` is `notes.txt` in a command. Use relative paths in commands."
)
EXECUTE_DESCRIPTION = (
    "Run a shell command (/bin/sh) in the sandbox and get its output (stdout and stderr) and exit code. Quote paths"
    " with spaces. Join commands that depend on each other with &&. Output beyond the size limit is cut in the middle"
    " and kept whole in a file that the result names. A command without a timeout may run as long as the run may."
)


class ExecuteArguments(BaseModel):
    """The arguments of `execute`."""

    command: Annotated[str, Field(description="the shell command")]
    timeout: Annotated[int | None, Field(description="seconds after which it is killed; none by default", ge=1)] = None


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
    agent = bundle if bundle.instructions or bundle.sub_agents else DEFAULT_AGENT
    backend: BackendProtocol = CurrentSandboxBackend() if bundle.sandboxed else StateBackend()
    own: list[BaseTool] = [_execute_tool()] if bundle.sandboxed else []
    served = _served(agent, bundle)
    note = SANDBOX_PROMPT if bundle.sandboxed else ""
    skills = skills_prompt(bundle.skills)
    general = replace(GENERAL_PURPOSE, skills=bundle.skills, tools=bundle.tools)
    specs = {spec.name: spec for spec in (general, *agent.sub_agents)}
    graph = create_deep_agent(
        model,
        [*own, *(served[one] for one in bundle.tools)],
        system_prompt=_join(agent.instructions, note, skills),
        subagents=[
            _sub_agent(spec, backend, note, [*own, *(served[one] for one in spec.tools)], bundle, order)
            for spec in specs.values()
        ],
        backend=backend,
        middleware=[TodoListMiddleware(), *_around(backend, bundle, order, frozenset(specs), main=True)],
        checkpointer=saver,
    )
    if saver is not None:
        graph = graph.copy(update={"checkpointer": remembering(saver, graph)})
    guard_nodes(graph)
    return cast("CompiledStateGraph[Any, Any, Any, Any]", graph)


def _served(agent: Bundle, bundle: Bundle) -> dict[ToolSpec, BaseTool]:
    """The tools of MCP servers, of the agent and of its sub-agents."""
    specs = dict.fromkeys((*bundle.tools, *(one for sub in agent.sub_agents for one in sub.tools)))
    if not specs:
        return {}
    from agent_runner.clients.mcp.tools import tool_of  # half a second of imports, for agents that have servers

    return {spec: tool_of(spec) for spec in specs}


def _sub_agent(
    spec: SubAgentSpec,
    backend: BackendProtocol,
    note: str,
    tools: list[BaseTool],
    bundle: Bundle,
    order: ModelOrder | None,
) -> SubAgent:
    return SubAgent(
        name=spec.name,
        description=spec.description or spec.name,
        system_prompt=_join(spec.instructions, note, skills_prompt(spec.skills)),
        tools=tools,
        middleware=list(_around(backend, bundle, order)),
    )


def _around(
    backend: BackendProtocol,
    bundle: Bundle,
    order: ModelOrder | None,
    sub_agents: frozenset[str] = frozenset(),
    *,
    main: bool = False,
) -> Sequence[AgentMiddleware[Any, Any]]:
    """The file tools, approvals and our guard. deepagents' own `execute` is left out: it reports a failed command as a
    success."""
    files = FilesystemMiddleware(
        backend=backend, tools=["ls", "read_file", "write_file", "edit_file", "delete", "glob", "grep"]
    )
    asking = [ToolApprovals(bundle.approvals, bundle.tool_names, main=main)] if bundle.approvals else []
    return (files, *asking, RunGuard(sub_agents, order))


def _join(*parts: str) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _execute_tool() -> BaseTool:
    """Our tool `execute`. Its message is an error if the exit code is not 0; the agent reads it and goes on."""
    backend = CurrentSandboxBackend()

    async def execute(command: str, runtime: ToolRuntime, timeout: int | None = None) -> ToolMessage:
        result = await backend.aexecute(command, timeout=timeout)
        return _told(result, runtime.tool_call_id)

    def execute_blocking(command: str, runtime: ToolRuntime, timeout: int | None = None) -> ToolMessage:
        return _told(backend.execute(command, timeout=timeout), runtime.tool_call_id)

    return StructuredTool.from_function(
        name="execute",
        description=EXECUTE_DESCRIPTION,
        func=execute_blocking,
        coroutine=execute,
        infer_schema=False,
        args_schema=ExecuteArguments,
    )


def _told(result: Any, tool_call_id: str | None) -> ToolMessage:
    ended = "succeeded" if result.exit_code == 0 else "failed"
    return ToolMessage(
        content=f"{result.output.rstrip(chr(10))}\n[Command {ended} with exit code {result.exit_code}]",
        name="execute",
        tool_call_id=tool_call_id or "",
        artifact={"exit_code": result.exit_code, "truncated": result.truncated},
        status="success" if result.exit_code == 0 else "error",
    )
