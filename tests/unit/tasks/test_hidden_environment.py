"""What a worker does with the secrets of its environment once it has read them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECRET = "k3y-0f-the-worker"
PROGRAM = """
import json, os, subprocess
from agent_runner.clients.engine.user_graphs import run_environment
from agent_runner.clients.process.hidden_environment import hide_secrets
from agent_runner.clients.settings.settings import load_settings

settings = load_settings("doctor")
run_environment.install(hide_secrets(settings))
child = subprocess.run(["env"], capture_output=True, text=True).stdout
print(json.dumps({
    "settings": [settings.api_key.get_secret_value(), settings.broker_url, settings.openai_api_key.get_secret_value()],
    "seen": {name: os.environ.get(name) for name in NAMES},
    "copied": sorted(set(NAMES) & set(dict(os.environ))),
    "child": child,
    "proc": open("/proc/self/environ", errors="replace").read() if os.path.exists("/proc/self/environ") else "",
}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    given = {
        "STIGMER_API_KEY": SECRET,
        "AGENT_RUNNER_BROKER_URL": f"redis://:{SECRET}@127.0.0.1:1/0",
        "AGENT_RUNNER_SECRET_KEY": SECRET,
        "OPENAI_API_KEY": SECRET,
        "CRM_TOKEN": SECRET,
        "WAREHOUSE": f"postgresql://reader:{SECRET}@db/w",
        "TEAM": "sales",
    }
    env = {"PATH": os.environ["PATH"], "HOME": "/", "PYTHONPATH": f"{ROOT / 'src'}", **given}
    program = f"NAMES = {list(given)!r}\n{PROGRAM}"
    folder = tmp_path_factory.mktemp("worker")
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=folder, capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_settings_keep_what_they_read(told: dict[str, object]) -> None:
    """The worker itself goes on with its keys and URLs."""
    assert told["settings"] == [SECRET, f"redis://:{SECRET}@127.0.0.1:1/0", SECRET]


def test_nobody_else_finds_them(told: dict[str, object]) -> None:
    """Neither in /proc, nor in the environment of a program that is started."""
    assert SECRET not in str(told["proc"])
    assert SECRET not in str(told["child"])
    assert "TEAM=sales" in str(told["child"])


def test_code_of_users_finds_its_own_and_not_the_products(told: dict[str, object]) -> None:
    """Keys of providers and other secrets are in `os.environ`; those of this product are not."""
    assert told["seen"] == {
        "STIGMER_API_KEY": None,
        "AGENT_RUNNER_BROKER_URL": None,
        "AGENT_RUNNER_SECRET_KEY": None,
        "OPENAI_API_KEY": SECRET,
        "CRM_TOKEN": SECRET,
        "WAREHOUSE": f"postgresql://reader:{SECRET}@db/w",
        "TEAM": "sales",
    }
    assert told["copied"] == ["CRM_TOKEN", "OPENAI_API_KEY", "TEAM", "WAREHOUSE"]
