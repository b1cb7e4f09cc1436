"""The image is built and its roles run in containers: where an engine is named (`support/docker_engine.py`)."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks.tree import ROOT
from tests.support.databases import on_postgres, postgres_or_skip
from tests.support.docker_engine import BASE, NEEDS_ENGINE, Contained, ask, build, docker, own_tag
from tests.support.waiting import eventually

pytestmark = [NEEDS_ENGINE, pytest.mark.timeout(3600)]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
WALLS = [word for option in COMPOSE["worker"]["security_opt"] for word in ("--security-opt", option)]
MOST_MB = 550
"""The base is about 130 MB of it; the rest are the locked packages and their bytecode."""
EXAMPLE = ROOT / "docs" / "examples" / "own-graph"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    tag = own_tag("agent-runner")
    build(ROOT, tag, PYTHON_IMAGE=os.environ.get(BASE, ""))
    yield tag
    docker("rmi", "--no-prune", tag)


@pytest.fixture(scope="module")
def example(image: str) -> Iterator[str]:
    """The image with graphs of one's own."""
    tag = own_tag("own-graph")
    build(EXAMPLE, tag, AGENT_RUNNER_IMAGE=image)
    yield tag
    docker("rmi", "--no-prune", tag)


@pytest.fixture
def stack(example: str, tmp_path: Path) -> Iterator[Contained]:
    """Server in a container, in production, on Postgres; its health check is the one of the Compose file."""
    health = COMPOSE["server"]["healthcheck"]["test"]
    with on_postgres(postgres_or_skip()) as store, on_postgres(postgres_or_skip()) as checkpoints:
        settings = {
            "MODE": "production",
            "AGENT_RUNNER_DATABASE_URL": store,
            "AGENT_RUNNER_CHECKPOINT_URL": checkpoints,
            "STIGMER_LLM_PROVIDER": "demo",
        }
        opened = Contained.open(tmp_path / "stack", **settings)
        opened.image = example
        opened.options = {"worker": WALLS}
        probe = health[-1].replace("8080", str(opened.http_port))
        command = f"python -c {json.dumps(probe)}"
        opened.options |= {"server": ["--health-cmd", command, "--health-interval", "1s"]}
        with opened as running:
            yield running


def test_what_the_image_is(image: str) -> None:
    """Small, a user without privileges, nothing of development, its bytecode made (its root cannot be written)."""
    described: dict[str, Any] = json.loads(docker("image", "inspect", image))[0]
    assert described["Size"] < MOST_MB * 1_000_000, f"{described['Size'] / 1e6:.0f} MB"
    assert described["Config"]["User"] == "agent-runner"
    assert docker("run", "--rm", "--network=none", "--read-only", image, "--version").startswith(
        "agent-runner, version"
    )
    look = (
        "import importlib.util as u, os, agent_runner.app.server.composition as c; "
        "print(os.getuid(), os.path.exists(c.__cached__), *(n for n in ('pytest', 'mypy', 'ruff') if u.find_spec(n)))"
    )
    assert docker("run", "--rm", "--read-only", "--entrypoint", "python", image, "-c", look) == "10001 True"


def test_server_and_worker_in_containers(stack: Contained) -> None:
    """Healthy for the engine; a graph of the example and a walled command run; `doctor` is content inside; SIGTERM
    lets a run go on elsewhere and the container ends with 0; nothing wanted to write its root."""
    worker = stack.start_worker()
    server = stack.container(stack.server)
    eventually(
        lambda: docker("inspect", "--format", "{{.State.Health.Status}}", server) == "healthy",
        what="the engine to find the server healthy",
    )
    counted = stack.create("four words are here", graph="word-count")["metadata"]["id"]
    done = stack.wait_for(counted, "EXECUTION_COMPLETED")
    assert "4" in str(done["status"]["messages"][-1].get("content") or done["status"].get("output"))

    look = "readlink /proc/self/ns/pid /proc/self/ns/net"
    walled = stack.wait_for(stack.create(f"$ {look}")["metadata"]["id"], "EXECUTION_COMPLETED")
    assert walled["sandbox"] == "isolated", walled
    (call,) = walled["status"]["tool_calls"]
    outside = docker("exec", stack.container(worker), *look.split()).split()
    inside = re.findall(r"\w+:\[\d+\]", json.dumps(call))
    assert len(inside) == len(outside) == 2
    assert not set(inside) & set(outside)

    said = docker("exec", stack.container(worker), "agent-runner", "doctor", "--json")
    down = {one["name"] for one in json.loads(said)["checks"] if one["required"] and not one["up"]}
    assert down == set()

    going = stack.create("$ sleep 3; echo slept")["metadata"]["id"]
    stack.wait_for(going, "EXECUTION_IN_PROGRESS")
    other = stack.start_worker()
    stopped(worker)
    assert stack.wait_for(going)["status"]["phase"] == "EXECUTION_COMPLETED"
    stopped(other)
    stopped(stack.server)
    for process in stack.processes:
        assert "Read-only file system" not in process.output(), process.output()[-2000:]


def stopped(process: Any) -> None:
    process.kill(signal.SIGTERM)
    try:
        assert process.popen.wait(60) == 0, process.output()[-2000:]
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{process.name} does not stop:\n{process.output()[-2000:]}") from None


@pytest.mark.parametrize(
    ("options", "settings", "starts"),
    [((), {}, False), ((), {"AGENT_RUNNER_SANDBOX": "none"}, True), ((), {"AGENT_RUNNER_SANDBOX_UNSAFE": "1"}, True)],
    ids=["default profiles", "no sandbox", "one tenant"],
)
def test_a_container_with_the_default_profiles(
    image: str, options: tuple[str, ...], settings: dict[str, str], starts: bool
) -> None:
    """It cannot wall commands off: a worker says so and does not start, unless it was told what to do instead."""
    given = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    checked = ask("run", "--rm", "--read-only", "--tmpfs=/tmp", "--env=MODE=production", *given, *options, image,
                  "doctor", "--json")  # fmt: skip
    (sandbox,) = [one for one in json.loads(checked.stdout)["checks"] if one["name"] == "sandbox"]
    assert sandbox["up"] is starts, sandbox
    if not starts:
        assert "bubblewrap" in sandbox["fix"]
