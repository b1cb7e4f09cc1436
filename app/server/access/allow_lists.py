"""The models and graphs that an execution may name: the operator's lists, and the scope for choosing a model.

An entry of a list is a pattern (`claude-*`), or `WHO=PATTERN` for one org (`acme=gpt-*`) or one agent of an org
(`acme/writer=gpt-5*`). An empty list allows everything. A choice of the worker's own settings needs no entry.
"""

from fnmatch import fnmatchcase

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.access.scopes import may_grant
from agent_runner.app.server.executions.placement import Place
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.api_keys import Scope


def check_model_scope(*models: str) -> None:
    """Raises PERMISSION_DENIED if a model is named and the caller's key may not choose one (scope `model`)."""
    mine = current()
    if any(models) and not may_grant(mine.scopes, Scope.MODEL):
        raise Problem(
            Kind.PERMISSION_DENIED,
            f"to choose a model needs the scope 'model', which the key '{mine.name}' has not got",
            next_step="Leave the model out, or use a key with the scopes execute and model.",
        )


def check_allowed(settings: Settings, place: Place, model: str) -> None:
    """Raises PERMISSION_DENIED for a model (also one that only stands in for it) or a graph that the lists do not allow
    for this org and agent."""
    models = (model, *place.fallback_models)
    for what, name, entries, variable in (
        *(("model", name, settings.allowed_models, "AGENT_RUNNER_ALLOWED_MODELS") for name in models),
        ("graph", place.graph, settings.allowed_graphs, "AGENT_RUNNER_ALLOWED_GRAPHS"),
    ):
        if name and entries and not allows(entries, place.org, place.agent, name):
            raise Problem(
                Kind.PERMISSION_DENIED,
                f"{what} '{name[:100]}' is not allowed for agent '{place.agent}' of org '{place.org}'",
                next_step=f"Name one that {variable} of the server allows, or none.",
            )


def allows(entries: str, org: str, agent: str, name: str) -> bool:
    """Whether one of the entries (separated by commas) is for this agent and matches the name. Case matters."""
    for entry in filter(None, (entry.strip() for entry in entries.split(","))):
        who, given, pattern = entry.rpartition("=")
        whom = f"{org}/{agent}" if "/" in who else org
        if (not given or fnmatchcase(whom, who.strip())) and fnmatchcase(name, pattern.strip()):
            return True
    return False
