"""The definition of an agent, as it comes with the claim: all that shapes its graph, nothing of a single run."""

from dataclasses import dataclass

from agent_runner.status.requests.approvals import ApprovalRule


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillSpec:
    """A skill that an agent may use. `path`: its folder in the file tools; empty without a sandbox. `body`: its text
    without front matter; set only if the whole text goes into the instructions."""

    name: str
    description: str
    path: str
    body: str = ""


OWN_TOOLS = frozenset(
    {"delete", "edit_file", "execute", "glob", "grep", "ls", "read_file", "task", "write_file", "write_todos"}
)
"""The tools that an agent has of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool of an MCP server. `shown`: its name for the model. `schema_json`: the JSON schema of its arguments."""

    server: str
    name: str
    shown: str
    description: str
    schema_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgentSpec:
    """One sub-agent. The main agent reads `description` when it chooses a sub-agent for a task."""

    name: str
    description: str
    instructions: str = ""
    skills: tuple[SkillSpec, ...] = ()
    tools: tuple[ToolSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Hashable: equal bundles share one compiled graph.

    `graph` names an entry of `langgraph.json`; then the other fields are not used. If `instructions` and `sub_agents`
    are both empty, those of `DEFAULT_AGENT` are used. If `model_name` is empty, the settings choose the model; if
    `fallback_models` is None, also those that stand in for it.
    """

    instructions: str = ""
    sub_agents: tuple[SubAgentSpec, ...] = ()
    model_name: str = ""
    fallback_models: tuple[str, ...] | None = None
    graph: str = ""
    skills: tuple[SkillSpec, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    approvals: tuple[ApprovalRule, ...] = ()
    sandboxed: bool = True
    """Whether there are commands; without a sandbox files are in the conversation's state."""

    @property
    def tool_names(self) -> frozenset[str]:
        """Of the agent and of its sub-agents."""
        served = (*self.tools, *(tool for sub in self.sub_agents for tool in sub.tools))
        return OWN_TOOLS | {tool.shown for tool in served}


DEFAULT_AGENT = Bundle(
    instructions=(
        "You are a capable assistant that works in a sandbox. Plan work of several steps with write_todos and keep the"
        " list up to date. Delegate independent parts to sub-agents, in parallel. Check results before you rely on"
        " them; report failures as they are."
    ),
    sub_agents=(
        SubAgentSpec(
            name="researcher",
            description="Finds things out: reads files, searches, runs commands, and reports what it found.",
            instructions="You find things out. Report facts with where they come from; say what you could not find.",
        ),
        SubAgentSpec(
            name="reviewer",
            description="Checks work: reads it critically, runs it, and reports what is wrong.",
            instructions="You check work. Try it, look for mistakes, and report each with its place and reason.",
        ),
    ),
)
"""Used when no agent is named. The server shows it as the agent `agent-runner`."""
