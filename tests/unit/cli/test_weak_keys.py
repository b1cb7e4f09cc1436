"""Keys that everybody knows or can guess: for this machine only."""

import itertools
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent_runner.app.cli.commands.roles import flower
from agent_runner.clients.settings.settings import Settings, SettingsError
from tests.unit.cli.test_settings import load

STRONG = "0123456789abcdef01234567"


def problems(role: str, **environment: str) -> list[str]:
    os.environ |= environment
    try:
        load(role)
    except SettingsError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("role", "key"),
    [*itertools.product(("server", "dev"), ("dummy-local-key", STRONG[:-1])), ("server", "")],
)
def test_a_weak_key_is_refused_beyond_this_machine(clean_environment: Path, role: str, key: str) -> None:
    """By the name of the setting, with what to do; the key itself is not shown."""
    for beyond in ({"AGENT_RUNNER_BIND": "0.0.0.0"}, {"AGENT_RUNNER_BIND": "::"}):
        (said,) = problems(role, STIGMER_API_KEY=key, **beyond)
        assert said.startswith("STIGMER_API_KEY ")
        assert "openssl rand" in said
        assert STRONG[:-1] not in said
    (said,) = problems(role, STIGMER_API_KEY=key, AGENT_RUNNER_BIND="", AGENT_RUNNER_ALLOWED_HOSTS="runner.example")
    assert said.startswith("STIGMER_API_KEY "), "a proxy brings other machines here"


def test_a_stack_makes_a_strong_key_itself(clean_environment: Path) -> None:
    """Without a key of the user's, `dev` has one that nobody knows; so it need not be refused."""
    assert problems("dev", AGENT_RUNNER_BIND="0.0.0.0") == []


@pytest.mark.parametrize("bind", ["", "127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_any_key_will_do_for_this_machine(clean_environment: Path, bind: str) -> None:
    """What listens on loopback only can be reached by users of this machine only."""
    assert problems("server", AGENT_RUNNER_BIND=bind) == []
    assert problems("server", STIGMER_API_KEY="k", AGENT_RUNNER_ALLOWED_HOSTS="localhost,my.localhost") == []


def test_a_strong_key_serves_everybody(clean_environment: Path) -> None:
    """With 24 characters of its own."""
    assert problems("server", STIGMER_API_KEY=STRONG, AGENT_RUNNER_BIND="0.0.0.0") == []
    assert problems("worker", STIGMER_API_KEY="", AGENT_RUNNER_BIND="0.0.0.0") == [], "it listens nowhere"


def test_hosts_are_names(clean_environment: Path) -> None:
    """Not addresses with ports, not URLs."""
    for wrong in ("runner.example:80", "https://runner.example", "a b"):
        (said,) = problems("server", AGENT_RUNNER_ALLOWED_HOSTS=wrong)
        assert said.startswith("AGENT_RUNNER_ALLOWED_HOSTS must be names")
    assert Settings(allowed_hosts="Runner.example").hosts[0] == "runner.example"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "STIGMER_API_KEY"),
        ({"STIGMER_API_KEY": STRONG, "AGENT_RUNNER_FLOWER_PASSWORD": "short"}, "AGENT_RUNNER_FLOWER_PASSWORD"),
    ],
)
def test_flower_is_not_opened_by_a_weak_password(
    clean_environment: Path, environment: dict[str, str], named: str
) -> None:
    """Beyond this machine it needs one of its own or a strong API key; refused before it listens."""
    os.environ |= environment
    ended = CliRunner().invoke(flower, ["--address", "0.0.0.0", "--port", "0"])
    assert (ended.exit_code, named in ended.output) == (2, True), ended.output
