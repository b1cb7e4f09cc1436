"""Which engine builds an agent, and what is said where an environment does not have it."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.engines.installed import engine_problem
from agent_runner.clients.engine.factory import EngineError
from agent_runner.clients.settings.settings import Settings
from checks.tree import ROOT
from tests.unit.engine.world import make_world
from tests.unit.models.settings import SomeSettings

WORKER = ("clients", "tasks", "status", "app")
OF_THE_ENGINES = {"deepagents", "graphton"}


async def test_an_engine_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """For a run, and before it for a worker that starts; a server needs none."""
    async with make_world(tmp_path, replace(SomeSettings(), engine="graphton")) as world:
        with pytest.raises(EngineError, match=r"pip install 'agent-runner\[graphton\]' in a new one"):
            await world.factory.graph(Bundle())
    settings = Settings(engine="graphton")
    (problem,) = [text for fields, text in settings.problems("worker") if "engine" in fields]
    assert problem.startswith("AGENT_RUNNER_ENGINE=graphton: the engine graphton is not installed here")
    assert not [text for fields, text in settings.problems("server") if "engine" in fields]
    assert not engine_problem("deepagents")


def test_the_engine_deepagents_knows_graphtons_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older deepagents is named, with both ways out."""
    monkeypatch.setattr("agent_runner.clients.engine.engines.installed.version", lambda package: "0.4.12")
    assert "0.4.12, which is graphton's: set AGENT_RUNNER_ENGINE=graphton" in engine_problem("deepagents")


def test_only_the_engines_import_their_libraries() -> None:
    """So that the rest works with either; and the kind of sandbox that is made of a backend of deepagents does."""
    found = set()
    for file in (file for room in WORKER for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if OF_THE_ENGINES & {name.partition(".")[0] for name in names}:
                found.add(str(file.parent.relative_to(ROOT)))
    assert found == {"clients/engine/engines", "clients/sandbox/kinds"}
