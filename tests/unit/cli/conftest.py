"""What the tests of the command line share: a clean environment and a small real HTTP server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_runner.clients.settings.settings import Settings, env_names
from tests.unit.cli.scripted_server import ScriptedServer


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory and none of our variables; what a test puts into the environment is taken back."""
    before = dict(os.environ)
    for field in Settings.model_fields:
        for name in env_names(field):
            os.environ.pop(name, None)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running
