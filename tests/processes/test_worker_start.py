"""A worker process from its command line: what it registers, and how a start that fails says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_runner.clients.settings.settings import Settings
from agent_runner.tasks.app import Role, build_app, registered

ROOT = Path(__file__).parents[2]


def start(tmp_path: Path, *arguments: str, pythonpath: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
    """Runs until the start has failed."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, [pythonpath, str(ROOT / "src")])),
        "AGENT_RUNNER_DATA_DIR": str(tmp_path),
        **settings,
    }
    argv = [sys.executable, "-m", "agent_runner.tasks.worker", "--as", *(arguments or ("agent-runner worker",))]
    return subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)


@pytest.mark.promise("1.09")
@pytest.mark.promise("4.06")
@pytest.mark.promise("4.07")
@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("worker", ["CleanupSandbox", "EnsureThread", "ExecuteGraphton", "PruneThread", "QueryGraph"]),
        ("orchestrator", ["ReportFailure"]),
    ],
)
def test_each_role_registers_its_own_tasks_and_no_others(role: Role, names: list[str]) -> None:
    """The lists have nothing in common."""
    assert registered(build_app(Settings(), role)) == names


@pytest.mark.promise("1.39")
def test_wrong_settings_are_named_all_at_once(tmp_path: Path) -> None:
    """Configuration Error, every variable, exit 1."""
    done = start(
        tmp_path, AGENT_RUNNER_CONCURRENCY="none", AGENT_RUNNER_POOL="green", AGENT_RUNNER_BROKER_URL="http://x"
    )
    assert done.returncode == 1
    assert done.stderr.count("STARTUP FAILURE") == 1
    assert "STARTUP FAILURE: Configuration Error" in done.stderr
    for name in ("AGENT_RUNNER_CONCURRENCY", "AGENT_RUNNER_POOL", "AGENT_RUNNER_BROKER_URL"):
        assert name in done.stderr


@pytest.mark.promise("3.02")
@pytest.mark.promise("3.05")
def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    """Initialisation Error with the causes, without the URL's password, exit 1."""
    done = start(tmp_path, AGENT_RUNNER_BROKER_URL="redis://:hush-hush@127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.count("STARTUP FAILURE") == 1
    assert "STARTUP FAILURE: Initialisation Error" in done.stderr
    assert "Common causes:" in done.stderr
    assert "hush-hush" not in done.stderr


@pytest.mark.promise("3.04")
@pytest.mark.promise("3.27")
def test_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    """Import Error, also when it is one of the Celery side's own dependencies."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "kombu.py").write_text("raise ImportError('kombu is broken here')")
    done = start(tmp_path, pythonpath=str(tmp_path / "broken"))
    assert done.returncode == 1
    assert done.stderr.count("STARTUP FAILURE") == 1
    assert "STARTUP FAILURE: Import Error" in done.stderr
    assert "kombu is broken here" in done.stderr


@pytest.mark.promise("3.03")
def test_a_task_that_cannot_be_registered(tmp_path: Path) -> None:
    """Registration Error."""
    (tmp_path / "sitecustomize.py").write_text(
        "import celery.app.base as base\n"
        "def task(*args, **kwargs):\n"
        "    raise ValueError('EnsureThread is registered twice')\n"
        "base.Celery.task = task\n"
    )
    done = start(tmp_path, pythonpath=str(tmp_path))
    assert done.returncode == 1
    assert "STARTUP FAILURE: Registration Error" in done.stderr
    assert "EnsureThread is registered twice" in done.stderr


def test_an_unknown_role(tmp_path: Path) -> None:
    """A wrong command line is a failed start like any other."""
    done = start(tmp_path, "agent-runner clown")
    assert done.returncode == 1
    assert "STARTUP FAILURE: Configuration Error" in done.stderr


PRODUCTION = {
    "MODE": "production",
    "STIGMER_API_KEY": "a key",
    "AGENT_RUNNER_BROKER_URL": "redis://127.0.0.1:1/0",
    "STIGMER_BACKEND_ENDPOINT": "127.0.0.1:1",
    "AGENT_RUNNER_SANDBOX_BUBBLEWRAP": "no-such-program",
    "AGENT_RUNNER_SANDBOX_USERS": "none",
}


def test_without_walls_no_worker_starts_in_production(tmp_path: Path) -> None:
    """The banner says why, and the three ways out; it comes before anything is asked of the broker."""
    done = start(tmp_path, **PRODUCTION)
    assert done.returncode == 1
    assert done.stderr.count("STARTUP FAILURE") == 1
    assert "cannot be walled off here: bubblewrap (no-such-program) is not installed" in done.stderr
    assert "Install bubblewrap" in done.stderr
    assert "AGENT_RUNNER_SANDBOX=none" in done.stderr
    assert "AGENT_RUNNER_SANDBOX_UNSAFE=1" in done.stderr


@pytest.mark.parametrize(
    "way_out", [{"AGENT_RUNNER_SANDBOX": "none"}, {"AGENT_RUNNER_SANDBOX_UNSAFE": "1"}, {"MODE": "local"}]
)
def test_with_a_way_out_the_start_gets_as_far_as_the_broker(tmp_path: Path, way_out: dict[str, str]) -> None:
    """No commands, commands that may do everything, or one's own machine."""
    done = start(tmp_path, **PRODUCTION | way_out)
    assert "walled off" not in done.stderr
    assert "127.0.0.1:1" in done.stderr or "Connection refused" in done.stderr


def test_an_orchestrator_runs_no_commands(tmp_path: Path) -> None:
    """It needs no walls."""
    done = start(tmp_path, "agent-runner orchestrator", **PRODUCTION)
    assert "walled off" not in done.stderr
