"""What the agents of all engines are made of: the prompt's parts, tools of servers, and the middleware around them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain_core.tools import BaseTool

from agent_runner.clients.engine.agent_definition import DEFAULT_AGENT, Bundle, SubAgentSpec, ToolSpec
from agent_runner.clients.engine.approvals.tool_approvals import ToolApprovals
from agent_runner.clients.engine.middleware import RunGuard
from agent_runner.clients.engine.skills_prompt import skills_prompt
from agent_runner.clients.models.order.fallbacks import ModelOrder

GENERAL_PURPOSE = SubAgentSpec(
    name="general-purpose",
    description="Does any delegated task of several steps with the same tools as the main agent.",
    instructions="Do the delegated task. Only your last message is read: put the whole result into it.",
)
SANDBOX_PROMPT = (
    "Commands run in your working directory, which is also your home. In the file tools that directory is `/`: the"
    " file `/notes.txt` is `notes.txt` in a command. Use relative paths in commands."
)


def agent_of(bundle: Bundle) -> Bundle:
    """Whose instructions and sub-agents are used."""
    return bundle if bundle.instructions or bundle.sub_agents else DEFAULT_AGENT


def sub_agents_of(bundle: Bundle) -> dict[str, SubAgentSpec]:
    """By name, with the general one."""
    general = replace(GENERAL_PURPOSE, skills=bundle.skills, tools=bundle.tools)
    return {spec.name: spec for spec in (general, *agent_of(bundle).sub_agents)}


def prompt_of(bundle: Bundle, sub_agent: SubAgentSpec | None = None) -> str:
    """Of the agent, or of one of its sub-agents."""
    instructions = sub_agent.instructions if sub_agent else agent_of(bundle).instructions
    skills = (sub_agent or bundle).skills
    parts = (instructions, SANDBOX_PROMPT if bundle.sandboxed else "", skills_prompt(skills))
    return "\n\n".join(part.strip() for part in parts if part.strip())


def served(bundle: Bundle) -> dict[ToolSpec, BaseTool]:
    """The tools of MCP servers, of the agent and of its sub-agents."""
    subs = agent_of(bundle).sub_agents
    specs = dict.fromkeys((*bundle.tools, *(one for sub in subs for one in sub.tools)))
    if not specs:
        return {}
    from agent_runner.clients.mcp.tools import tool_of  # half a second of imports, for agents that have servers

    return {spec: tool_of(spec) for spec in specs}


def guards(
    bundle: Bundle, order: ModelOrder | None, sub_agents: frozenset[str] = frozenset(), *, main: bool = False
) -> Sequence[AgentMiddleware[Any, Any]]:
    """Approvals and our guard. `sub_agents`: the names that `task` knows."""
    asking = [ToolApprovals(bundle.approvals, bundle.tool_names, main=main)] if bundle.approvals else []
    return (*asking, RunGuard(sub_agents, order))
