"""The files for deployment name commands and settings that exist. No container is built or started here."""

import re
import tomllib
from typing import Any

import pytest
import yaml

from agent_runner.app.cli.main import COMMANDS
from agent_runner.clients.settings.settings import Settings, env_names
from checks.tree import ROOT

SETTINGS = {name for field in Settings.model_fields for name in env_names(field)}
OURS = ("server", "worker", "orchestrator", "flower")


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_the_procfile_names_our_commands() -> None:
    """Each line of the Procfile is a role and the command of that name."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    assert lines == [f"{role}: agent-runner {role}" for role in OURS]
    assert set(OURS) <= set(COMMANDS)


@pytest.mark.parametrize("role", OURS)
def test_compose_starts_our_roles_with_known_settings(role: str) -> None:
    """Each service of ours runs its command, and every variable of it is a setting of ours or of Flower."""
    service = services()[role]
    assert service["command"] == [role]
    unknown = [name for name in service["environment"] if name not in SETTINGS and not name.startswith("FLOWER_")]
    assert unknown == []


@pytest.mark.parametrize("role", ["worker", "orchestrator", "flower"])
def test_only_the_server_can_reach_the_store(role: str) -> None:
    """Nobody else is given the database, or the key that secrets in it are sealed with."""
    environment = services()[role]["environment"]
    assert not {"AGENT_RUNNER_DATABASE_URL", "AGENT_RUNNER_SECRET_KEY"} & set(environment)


@pytest.mark.parametrize("role", ["worker", "orchestrator", "flower"])
def test_only_the_server_has_the_key_that_may_do_everything(role: str) -> None:
    """The others have keys of their own, which are set apart."""
    root = services()["server"]["environment"]["STIGMER_API_KEY"]
    own = services()[role]["environment"]
    assert "${STIGMER_API_KEY" in root
    assert not [name for name, value in own.items() if "${STIGMER_API_KEY" in str(value)]
    assert own["STIGMER_API_KEY"] != root


@pytest.mark.promise("1.62")
def test_the_image_holds_every_package() -> None:
    """The Dockerfile copies what the wheel is made of, .dockerignore lets it through, and it is not run as root."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (package,) = (ROOT / path for path in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    linked = {link.resolve().relative_to(ROOT).parts[0] for link in package.iterdir() if link.is_symlink()}
    packages = {package.relative_to(ROOT).parts[0], *linked}
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE)) == packages
    assert packages <= set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE) == ["agent-runner"]
