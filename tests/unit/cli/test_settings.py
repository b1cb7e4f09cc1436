"""Settings: where they come from, what they refuse, what they never show."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from agent_runner.clients.process.local_stack import FILE_NAME, LOCK_NAME
from agent_runner.clients.settings.settings import Settings, SettingsError, load_settings
from agent_runner.clients.settings.settings_table import describe_settings
from agent_runner.status.timeouts import Timeouts


def load(role: str = "worker", env_file: Path | None = None) -> Settings:
    return load_settings(role, env_file=env_file or Path("absent.env"))  # type: ignore[arg-type]


def test_nothing_set(clean_environment: Path) -> None:
    """Without any variable the documented defaults hold, and the timeouts agree with each other."""
    settings = load()
    assert settings.http_port == 8080
    assert settings.grpc_port == 50051
    assert settings.backend_endpoint == "localhost:50051"
    assert settings.api_key.get_secret_value() == "dummy-local-key"
    assert (settings.runner_queue, settings.orchestrator_queue) == ("agent_execution_runner", "agent_execution_stigmer")
    assert settings.timeouts == Timeouts()
    assert settings.timeouts.problems() == []
    assert (settings.pool, settings.concurrency, settings.engine) == ("async", 50, "deepagents")
    assert (settings.max_message_bytes, settings.max_tool_result_bytes) == (1024 * 1024, 256 * 1024)
    assert settings.data_dir == clean_environment / ".agent-runner"
    assert settings.database_url == f"sqlite:///{clean_environment}/.agent-runner/agent-runner.db"
    assert not settings.given("http_url")
    assert settings.http_url == "http://127.0.0.1:8080"


@pytest.mark.promise("1.39")
def test_all_problems_at_once(clean_environment: Path) -> None:
    """Every wrong or missing variable is reported in one go, by the name that the operator typed."""
    os.environ |= {
        "MODE": "cloud",
        "AGENT_RUNNER_HTTP_PORT": "99999",
        "AGENT_RUNNER_POOL": "green",
        "AGENT_RUNNER_DATABASE_URL": "mysql://x",
        "AGENT_RUNNER_HEARTBEAT_TIMEOUT_S": "700",
        "AGENT_RUNNER_RETENTION_DAYS": "inf",
        "STIGMER_LLM_TEMPERATURE": "3",
    }
    with pytest.raises(SettingsError) as caught:
        load("worker")
    named = {problem.split()[0] for problem in caught.value.problems}
    assert named == {
        "AGENT_RUNNER_HTTP_PORT", "AGENT_RUNNER_POOL", "AGENT_RUNNER_DATABASE_URL", "AGENT_RUNNER_HEARTBEAT_TIMEOUT_S",
        "AGENT_RUNNER_RETENTION_DAYS", "STIGMER_LLM_TEMPERATURE", "STIGMER_API_KEY", "STIGMER_BACKEND_ENDPOINT",
        "AGENT_RUNNER_BROKER_URL",
    }  # fmt: skip
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    assert caught.value.settings.runner_queue == "agent_execution_runner"


@pytest.mark.promise("1.18")
def test_key_outside_local(clean_environment: Path) -> None:
    """Outside MODE=local a missing API key is named; the dummy key is never used there."""
    os.environ |= {"MODE": "production", "AGENT_RUNNER_BROKER_URL": "redis://r", "STIGMER_BACKEND_ENDPOINT": "s:443"}
    with pytest.raises(SettingsError) as caught:
        load("worker")
    assert caught.value.problems == ["STIGMER_API_KEY is required outside MODE=local"]
    assert caught.value.settings.api_key.get_secret_value() == ""


def test_total_time_rule_names_variables(clean_environment: Path) -> None:
    """Timeouts that contradict each other are refused in the names of their variables."""
    os.environ |= {"AGENT_RUNNER_SCHEDULE_TO_CLOSE_TIMEOUT_S": "100"}
    with pytest.raises(SettingsError, match="AGENT_RUNNER_SCHEDULE_TO_CLOSE_TIMEOUT_S must be above 830"):
        load()


@pytest.mark.promise("1.41")
def test_process_wins_over_env_file(clean_environment: Path) -> None:
    """`.env` fills in what the process does not have, and never overrides it, also not under a synonym."""
    Path(".env").write_text(
        "AGENT_RUNNER_CONCURRENCY=7\nAGENT_RUNNER_HTTP_PORT=1234\nAGENT_EXECUTION_RUNNER_TASK_QUEUE=file\n"
        'NO_PROXY="two words"\n'
    )
    os.environ |= {"AGENT_RUNNER_HTTP_PORT": "4321", "TEMPORAL_AGENT_EXECUTION_RUNNER_TASK_QUEUE": "process"}
    os.environ.pop("NO_PROXY", None)
    settings = load(env_file=Path(".env"))
    assert (settings.concurrency, settings.http_port, settings.runner_queue) == (7, 4321, "process")
    assert os.environ["NO_PROXY"] == "two words"


@pytest.mark.promise("4.21")
def test_queue_names(clean_environment: Path) -> None:
    """Both queues take their names from either variable; the name without prefix wins."""
    os.environ |= {
        "TEMPORAL_AGENT_EXECUTION_RUNNER_TASK_QUEUE": "a",
        "TEMPORAL_AGENT_EXECUTION_STIGMER_TASK_QUEUE": "b",
        "AGENT_EXECUTION_STIGMER_TASK_QUEUE": "c",
    }
    assert (load().runner_queue, load().orchestrator_queue) == ("a", "c")


@pytest.mark.promise("1.34")
@pytest.mark.parametrize(("given", "level"), [("debug", "DEBUG"), ("LOUD", "INFO"), ("", "INFO"), ("Warn", "WARNING")])
def test_log_level(clean_environment: Path, given: str, level: str) -> None:
    """A log level that does not exist is INFO, not an error."""
    os.environ["LOG_LEVEL"] = given
    assert load().log_level == level


def test_only_documented_names(clean_environment: Path) -> None:
    """Variables of other programs that look like our fields are not read."""
    os.environ |= {"POOL": "x", "WORKSPACE": "/ci", "HTTP_PORT": "1", "API_KEY": "k"}
    settings = load()
    assert (settings.pool, settings.workspace, settings.http_port) == ("async", None, 8080)


def test_secrets_are_not_shown(clean_environment: Path) -> None:
    """Neither repr nor the list of settings shows a key or a URL's password."""
    os.environ |= {
        "STIGMER_API_KEY": "canary-key",
        "AGENT_RUNNER_SECRET_KEY": "canary-secret",
        "AGENT_RUNNER_BROKER_URL": "redis://user:canary-password@host:1/0",
    }
    settings = load()
    assert "canary" not in repr(settings) + str(settings) + json.dumps(describe_settings(settings))
    assert "redis://user:***@host:1/0" in repr(settings)
    assert settings.redis_url == settings.broker_url


def test_describe_lists_every_setting() -> None:
    """`describe_settings` has a row with a name and a meaning for every setting."""
    rows = describe_settings()
    assert len(rows) == len(Settings.model_fields)
    assert all(row["name"].isupper() and row["about"] for row in rows)


def test_running_stack_is_used_while_it_lives(clean_environment: Path) -> None:
    """Commands beside a running `dev` use its addresses; what a dead one left behind is not believed."""
    data_dir = clean_environment / ".agent-runner"
    data_dir.mkdir()
    facts = {"http_url": "http://127.0.0.1:9", "broker_url": "redis://:p@h:1/0", "grpc_endpoint": "127.0.0.1:8"}
    (data_dir / FILE_NAME).write_text(json.dumps(facts))
    with (data_dir / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = load()
        assert there.given("http_url")
        assert (there.http_url, there.backend_endpoint) == ("http://127.0.0.1:9", "127.0.0.1:8")
        assert load("dev").http_url == "http://127.0.0.1:8080"
        os.environ["AGENT_RUNNER_HTTP_PORT"] = "7"
        assert load().http_url == "http://127.0.0.1:7"
    del os.environ["AGENT_RUNNER_HTTP_PORT"]
    assert not load().given("http_url")


def test_example_file_names_every_setting() -> None:
    """`.env.example` shows every setting by name, and sets none of them."""
    lines = (Path(__file__).parents[3] / ".env.example").read_text().splitlines()
    shown = {line.lstrip("# ").partition("=")[0] for line in lines if "=" in line}
    assert {row["name"] for row in describe_settings()} <= shown
    assert all(line.startswith("#") or not line for line in lines)


def test_no_validator_hides_another() -> None:
    """The settings are put together from several classes: a validator whose name stands twice would not be run."""
    validators = Settings.__pydantic_decorators__.field_validators
    names = [name for part in Settings.__mro__ for name in vars(part) if name in validators]
    assert len(names) > 5
    assert sorted(names) == sorted(set(names))


def test_links_of_the_page(clean_environment: Path) -> None:
    """Names and URLs as they were given; what a browser would run instead of following is refused."""
    os.environ["AGENT_RUNNER_PAGE_LINKS"] = (
        "Flower=https://f.example/task/{execution_id}:execute, Logs=http://logs/?a=b"
    )
    assert load("server").linked_pages == [
        ("Flower", "https://f.example/task/{execution_id}:execute"),
        ("Logs", "http://logs/?a=b"),
    ]
    os.environ["AGENT_RUNNER_PAGE_LINKS"] = "Trap=javascript:alert(1)"
    with pytest.raises(SettingsError, match="AGENT_RUNNER_PAGE_LINKS must be NAME=URL"):
        load("server")
