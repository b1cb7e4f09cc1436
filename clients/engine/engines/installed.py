"""Which engines this environment has. Imports none of them by itself."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

GRAPHTON_MISSING = (
    "the engine graphton is not installed here. It needs an environment of its own: pip install"
    " 'agent-runner[graphton]' in a new one, or AGENT_RUNNER_ENGINE=deepagents"
)
DEEPAGENTS_OLD = (
    "the engine deepagents needs deepagents 0.7, and this environment has {found}, which is graphton's:"
    " set AGENT_RUNNER_ENGINE=graphton here, or install agent-runner without the extra graphton in a new environment"
)
OLDEST_DEEPAGENTS = (0, 7)
_MODULES = {"deepagents": "deep_agents", "graphton": "graphton_agent"}


def engine_problem(engine: str) -> str:
    """Why `engine` cannot be used here, and what to do; empty if it can be."""
    if engine == "graphton":
        return "" if _version("graphton") else GRAPHTON_MISSING
    found = _version("deepagents")
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    return DEEPAGENTS_OLD.format(found=found or "none") if numbers < OLDEST_DEEPAGENTS else ""


def import_engine(engine: str) -> None:
    """Before the first run, which is then faster by the time that the import takes."""
    import_module(f"agent_runner.clients.engine.engines.{_MODULES[engine]}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
