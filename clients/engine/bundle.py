"""What an agent is, as the claim hands it out: everything that shapes its graph, and nothing of one run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgentSpec:
    """One sub-agent. `description` is what the main agent reads when it decides whom to give a task."""

    name: str
    description: str
    instructions: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Hashable: equal bundles share one compiled graph.

    `graph` names an entry of `langgraph.json`; then the rest is not used. No `instructions` and no `sub_agents` means
    the default agent. `model_name` empty means the model that the settings choose.
    """

    instructions: str = ""
    sub_agents: tuple[SubAgentSpec, ...] = ()
    model_name: str = ""
    graph: str = ""
